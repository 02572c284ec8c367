"""The threshold an admin would set from what was judged so far."""

from collections.abc import Sequence

import pytest

from roadloop_schemas.frames import FrameScreened, ModelPair, ShadowVerdict, Verdict, VerdictReason
from roadloop_world.demo.figures import choose_threshold, summarise_rollout
from roadloop_world.demo.loop_state import ScreenedFrame, Stage

BELOW, BLURRED = VerdictReason.BELOW_THRESHOLD, VerdictReason.BLURRED


def judged(scores: Sequence[float], reason: VerdictReason = BELOW) -> list[FrameScreened]:
    return [FrameScreened.model_construct(score=score, reasons=(reason,)) for score in scores]


@pytest.mark.parametrize(
    ("verdicts", "keep", "expected"),
    [
        pytest.param(judged([n / 100 for n in range(101)]), 0.1, 0.9, id="a-tenth-lies-above-the-ninth-decile"),
        pytest.param(judged([0.2, 0.8]) + judged([0.9] * 2, BLURRED), 0.25, 0.5, id="useless-frames-do-not-compete"),
        pytest.param([], 0.1, 1.0, id="nothing-judged-keeps-nothing"),
        pytest.param(judged([0.3, 0.4]), 1.0, 0.3, id="keep-all"),
    ],
)
def test_threshold(verdicts: list[FrameScreened], keep: float, expected: float) -> None:
    assert choose_threshold(verdicts, keep=keep, audit=0.0) == pytest.approx(expected)


def screened(at_ms: int, version: int, shadow: ShadowVerdict | None = None, *, kept: bool = False) -> ScreenedFrame:
    models = ModelPair(name="detector.demo", version=version)
    verdict = Verdict.KEPT if kept else Verdict.DROPPED
    return ScreenedFrame("demo", FrameScreened.model_construct(models=models, shadow=shadow, verdict=verdict), at_ms)


def test_how_a_version_came_to_serve_stage_by_stage() -> None:
    way = [
        Stage("version 1 serves", 1, None, 0),
        Stage("version 2 looks at 20% of units", 1, 2, 10),
        Stage("version 2 judges 10% of units", 1, 2, 20),
        Stage("version 2 serves", 2, None, 30),
    ]
    seen = [
        screened(5, 1, kept=True),
        screened(12, 1, ShadowVerdict(version=2)),
        screened(13, 1, ShadowVerdict(version=2, failure="dead")),
        screened(20, 2, kept=True),
        screened(21, 1),
        screened(99, 2),
        ScreenedFrame("other", FrameScreened.model_construct(models=None, shadow=None, verdict=Verdict.KEPT), 21),
    ]
    rows = [tuple(row.values())[1:] for row in summarise_rollout(way, seen, "demo")]
    assert rows == [(1, 0, 0, 0, 1), (2, 1, 0, 1, 0), (2, 0, 1, 0, 1), (1, 0, 1, 0, 0)]
    assert summarise_rollout([], seen, "demo") == []
