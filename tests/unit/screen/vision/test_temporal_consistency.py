"""What does not hold together along a drive, in cases worked out by hand."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screen.vision.detections import Box
from screen.vision.temporal_consistency import measure_inconsistency


def car(score: float, x: float = 0.3, name: str = "car") -> Box:
    return Box(x, 0.3, x + 0.2, 0.5, score, name)


NOTHING: list[Box] = []
STEADY = [[car(0.8)]] * 5


@pytest.mark.parametrize(
    ("unit", "at", "found"),
    [
        pytest.param(STEADY, 2, 0.0, id="a-steady-object"),
        pytest.param([[car(0.8)], [car(0.8)], NOTHING, [car(0.6)], [car(0.7)]], 2, 0.7, id="gone-for-one-picture"),
        pytest.param([[car(0.8)], [car(0.8)], [car(0.3)], [car(0.6)], NOTHING], 2, 0.6, id="weak-for-one-picture"),
        pytest.param([[car(0.8)], [car(0.8)], [car(0.35)], [car(0.6)], NOTHING], 2, 0.0, id="just-there"),
        pytest.param([[car(0.8)], [car(0.8)], NOTHING, NOTHING, NOTHING], 2, 0.0, id="gone-for-good"),
        pytest.param([NOTHING, NOTHING, [car(0.9)], NOTHING, NOTHING], 2, 0.9, id="there-for-one-picture"),
        pytest.param([NOTHING, NOTHING, [car(0.9, 0.01)], NOTHING, NOTHING], 2, 0.0, id="at-the-edge-it-may-leave"),
        pytest.param([NOTHING, NOTHING, [car(0.34)], NOTHING, NOTHING], 2, 0.0, id="too-weak-to-say"),
        pytest.param([NOTHING, [car(0.2)], [car(0.9)], NOTHING, NOTHING], 2, 0.0, id="weakly-there-before"),
        pytest.param(
            [[car(0.8)], [car(0.8)], [car(0.9, 0.01, "bus"), car(0.8)], [car(0.8)], NOTHING],
            2,
            0.0,
            id="and-a-steady-one",
        ),
        pytest.param(
            [[car(0.8)], [car(0.8)], [car(0.9, name="bus")], [car(0.7)], [car(0.7)]], 2, 1.6, id="another-class-for-one"
        ),
        pytest.param([[car(0.9)], NOTHING], 0, 0.0, id="the-first-has-nothing-before-it"),
        pytest.param([NOTHING, [car(0.9)]], 1, 0.0, id="the-last-has-nothing-after-it"),
        pytest.param([[car(0.9)]], 0, 0.0, id="alone"),
    ],
)
def test_what_does_not_fit(unit: list[list[Box]], at: int, found: float) -> None:
    assert measure_inconsistency(unit, at) == pytest.approx(1 - exp(-found))


boxes = st.lists(
    st.builds(car, st.floats(0, 1), st.sampled_from((0.0, 0.1, 0.3, 0.8)), st.sampled_from(("car", "bus"))), max_size=4
)


@given(st.lists(boxes, min_size=1, max_size=6), st.data())
def test_it_is_a_share_and_the_same_backwards(unit: list[list[Box]], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(unit) - 1))
    found = measure_inconsistency(unit, at)
    assert 0 <= found <= 1
    if at + 3 > len(unit):
        assert measure_inconsistency([*unit, NOTHING, NOTHING][: at + 1], at) == 0
