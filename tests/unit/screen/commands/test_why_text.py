"""A verdict in a sentence, and its boxes in the picture."""

import cv2
import numpy as np
import pytest

from roadloop_schemas.frames import (
    BudgetState,
    ModelPair,
    ShadowVerdict,
    Verdict,
    VerdictReason,
)
from screen.commands.why_text import WORDS, explain
from screen.vision.draw_boxes import draw_boxes
from tests.builders import make_detection, make_verdict

KEPT = {
    "slice": "night/front",
    "models": ModelPair(name="detector.acme", version=3, second_name="second.acme", second_version=1),
    "policy_version": 5,
    "threshold": 0.4713,
    "score_parts": {"disagreement": 0.8, "uncertainty": 0.4},
    "budget": BudgetState(budget=0.1, share=0.12, debt=3.4, scores=1_000),
}
SCORED = "Score 0.600 (models disagree 0.80, unsure 0.40)"
THRESHOLD = "the threshold of night/front was 0.471"
POLICY = "under policy version 5"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param(
            {},
            f"Kept: the models are unsure or disagree. {SCORED}; {THRESHOLD}, aiming at 12.0% of its last 1000 scores, "
            f"for a budget of 10% of its frames, 3 frames too few kept so far. Judged by detector.acme version 3 and "
            f"second.acme version 1 {POLICY}.",
            id="kept-under-a-budget",
        ),
        pytest.param(
            {"budget": None, "shadow": ShadowVerdict(version=4, kept=False, score=0.2)},
            f"Kept: the models are unsure or disagree. {SCORED}; {THRESHOLD}, given by the policy. Judged by "
            f"detector.acme version 3 and second.acme version 1 {POLICY}. Version 4, which is on its way, would have "
            "dropped it (score 0.200).",
            id="beside-a-version-on-its-way",
        ),
        pytest.param(
            {"budget": None, "shadow": ShadowVerdict(version=4, failure="triton: stub is dead")},
            f"Kept: the models are unsure or disagree. {SCORED}; {THRESHOLD}, given by the policy. Judged by "
            f"detector.acme version 3 and second.acme version 1 {POLICY}. Version 4, which is on its way, gave no "
            "answer: triton: stub is dead.",
            id="beside-a-version-that-fails",
        ),
        pytest.param(
            {
                "verdict": Verdict.DROPPED,
                "reasons": (VerdictReason.NEAR_DUPLICATE,),
                "budget": None,
                "models": ModelPair(name="detector.acme", version=3),
            },
            f"Dropped: nearly the same as a frame kept before. {SCORED}, which did not matter; {THRESHOLD}, given by "
            f"the policy. Judged by detector.acme version 3 {POLICY}.",
            id="dropped-whatever-its-score",
        ),
        pytest.param(
            {
                "verdict": Verdict.QUARANTINED,
                "reasons": (VerdictReason.OBJECT_MISSING,),
                "detail": "no such key",
                "score": None,
                "models": None,
                "replayed": True,
            },
            f"Quarantined: the picture is gone (no such key). No model judged it, {POLICY}. Its unit had been a dead "
            f"letter and was replayed.",
            id="quarantined-after-a-replay",
        ),
        pytest.param(
            {"budget": BudgetState(budget=0.1, share=0.1, debt=-2, scores=0), "models": None},
            f"Kept: the models are unsure or disagree. {SCORED}; {THRESHOLD}, too young for its own, for a budget of "
            f"10% of its frames, 2 frames too many kept so far. No model judged it, {POLICY}.",
            id="a-young-slice",
        ),
    ],
)
def test_a_verdict_in_a_sentence(changes: dict[str, object], sentence: str) -> None:
    assert explain(make_verdict(**(KEPT | changes))) == sentence


def test_every_reason_has_words() -> None:
    assert WORDS.keys() == set(VerdictReason)


def test_boxes_are_drawn_where_they_are_and_what_is_no_picture_comes_back() -> None:
    white = cv2.imencode(".png", np.full((100, 200, 3), 255, np.uint8))[1].tobytes()
    boxes = (
        make_detection(x1=0.25, y1=0.5, x2=0.75, y2=0.9),
        make_detection(score=0.1, x1=0.0, y1=0.0, x2=0.1, y2=0.1),
    )
    drawn = cv2.imdecode(np.frombuffer(draw_boxes(white, boxes, 400), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (200, 400, 3)
    assert drawn[140, 100].min() < 200, "the left edge of the box"
    assert drawn[140, 200].min() > 230, "its inside"
    assert drawn[:20, :40].min() > 230, "what is too unsure is not drawn"
    assert draw_boxes(b"no picture", boxes) == b"no picture"
