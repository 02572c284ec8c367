"""Slow or hanging: what is slow but moves never stands still, whatever the clock says."""

import pytest

from roadloop_runtime.standstill import Standstill


def stood(*looks: tuple[float, object]) -> float:
    """Look at signs of life at moments; return for how long the last one has stood."""
    (now, sign), *rest = looks
    standstill = Standstill(sign, now)
    return [standstill.look(sign, now) for now, sign in rest][-1]


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        pytest.param([(0, "a"), (1, "a"), (2, "a"), (3, "a")], 3, id="nothing moves"),
        pytest.param([(0, "a"), (1, "a"), (2, "b"), (3, "b")], 1, id="it moved a second ago"),
        pytest.param([(0, "a"), (4, "a"), (8, "b")], 0, id="it moves now"),
        pytest.param([(0, "a"), (4, "b"), (8, "a")], 0, id="what it was before is a change too"),
        pytest.param([(0, "a"), (3_600, "a")], 5, id="whoever did not look for an hour does not know"),
        pytest.param([(0, "a"), (3_600, "b"), (3_601, "b")], 1, id="a slow look that saw a change"),
    ],
)
def test_a_standstill_lasts_from_the_last_change_that_was_seen(
    looks: list[tuple[float, object]], seconds: float
) -> None:
    assert stood(*looks) == seconds
