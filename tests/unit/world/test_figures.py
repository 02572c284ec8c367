"""The threshold an admin would set from what was judged so far."""

from collections.abc import Sequence

import pytest

from roadloop_schemas.frames import FrameScreened, VerdictReason
from roadloop_world.figures import threshold_for

BELOW, BLURRED = VerdictReason.BELOW_THRESHOLD, VerdictReason.BLURRED


def judged(scores: Sequence[float], reason: VerdictReason = BELOW) -> list[FrameScreened]:
    return [FrameScreened.model_construct(score=score, reasons=(reason,)) for score in scores]


@pytest.mark.parametrize(
    ("told", "keep", "expected"),
    [
        pytest.param(judged([n / 100 for n in range(101)]), 0.1, 0.9, id="a-tenth-lies-above-the-ninth-decile"),
        pytest.param(judged([0.2, 0.8]) + judged([0.9] * 2, BLURRED), 0.25, 0.5, id="useless-frames-do-not-compete"),
        pytest.param([], 0.1, 1.0, id="nothing-judged-keeps-nothing"),
        pytest.param(judged([0.3, 0.4]), 1.0, 0.3, id="keep-all"),
    ],
)
def test_threshold(told: list[FrameScreened], keep: float, expected: float) -> None:
    assert threshold_for(told, keep=keep, audit=0.0) == pytest.approx(expected)
