"""How many errors a model made, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_schemas.fields import LabelBox
from screen.vision.detections import Box
from screen.vision.label_errors import count_errors
from tests.builders import make_label_box


def seen(x: float, name: str = "car", score: float = 0.9, width: float = 0.2) -> Box:
    return Box(x, 0.1, x + width, 0.3, score, name)


def label(x: float, name: str = "car") -> LabelBox:
    return make_label_box(name, x1=x, x2=x + 0.2)


@pytest.mark.parametrize(
    ("found", "truth", "count"),
    [
        pytest.param([], [], 0, id="an-empty-road"),
        pytest.param([seen(0.1)], [label(0.1)], 0, id="right"),
        pytest.param([], [label(0.1)], 1, id="missed"),
        pytest.param([seen(0.1)], [], 1, id="nothing-is-there"),
        pytest.param([seen(0.1, score=0.34)], [label(0.1)], 1, id="too-unsure-is-a-miss"),
        pytest.param([seen(0.1, score=0.34)], [], 0, id="too-unsure-to-be-wrong"),
        pytest.param([seen(0.1, score=0.35)], [label(0.1)], 0, id="just-sure-enough"),
        pytest.param([seen(0.1, "bus")], [label(0.1)], 1, id="another-class-is-one-error"),
        pytest.param([seen(0.1), seen(0.1, "bus")], [label(0.1)], 1, id="right-and-wrong-at-one-place"),
        pytest.param([seen(0.1), seen(0.11)], [label(0.1)], 1, id="seen-twice"),
        pytest.param([seen(0.1, "bus")] * 3, [label(0.1)], 3, id="mistaken-once-and-seen-twice-more"),
        pytest.param([seen(0.1)], [label(0.6)], 2, id="elsewhere-is-a-miss-and-a-wrong-one"),
        pytest.param([seen(0.1, width=0.101)], [label(0.1)], 0, id="half-of-it"),
        pytest.param([seen(0.1, width=0.09)], [label(0.1)], 2, id="less-than-half-of-it"),
        pytest.param([seen(0.1), seen(0.5)], [label(0.1), label(0.5), label(0.7)], 1, id="two-of-three"),
    ],
)
def test_errors(found: list[Box], truth: list[LabelBox], count: int) -> None:
    assert count_errors(found, truth) == count
    assert count_errors(found[::-1], truth[::-1]) == count


places = st.sampled_from([0.0, 0.1, 0.15, 0.5, 0.8])
names = st.sampled_from(["car", "bus"])


@given(
    st.lists(st.builds(seen, places, names, st.floats(0, 1)), max_size=5),
    st.lists(st.builds(label, places, names), max_size=5),
)
def test_there_are_never_more_errors_than_things_nor_fewer_than_their_difference(
    found: list[Box], truth: list[LabelBox]
) -> None:
    served = [box for box in found if box.score >= 0.35]
    assert abs(len(served) - len(truth)) <= count_errors(found, truth) <= len(served) + len(truth)
