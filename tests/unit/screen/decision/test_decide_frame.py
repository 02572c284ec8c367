"""The order of the rules: what can be judged, audit by lot, exposure, blur, near duplicates, score."""

from math import log
from typing import Any

import pytest

from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import Verdict, VerdictReason
from roadloop_schemas.policies import ErrorPredictor, ScreenPolicy
from screen.decision.audit_lot import draw_lot
from screen.decision.decide_frame import Context, Decision, decide_frame
from screen.decision.facts import Facts
from screen.decision.frame_keys import FrameKeys
from screen.memory.sharpness import Sharpness
from screen.vision.detections import Unjudged

# The only part that counts is 1 - the best score, so a frame's score is said by its one box.
POLICY = ScreenPolicy(
    version=1,
    threshold=0.5,
    audit_share=0,
    weights={"low_top_score": 1},
    min_laplacian_variance=50,
    brightness=(0.1, 0.9),
    duplicate_distance=4,
)
ALL_AUDITED = POLICY.model_copy(update={"audit_share": 1})
KEPT, DROPPED, QUARANTINED = Verdict.KEPT, Verdict.DROPPED, Verdict.QUARANTINED
R = VerdictReason
LOT, SALT = 0.5, b"a salt of 16 or more"


NEAR, FAR, SCENES = {"nearest_bits": 4}, {"nearest_bits": 9}, {"duplicate_step": 0.6}
LIGHT = {"duplicate_light": 0.002}


def facts(score: float, **known: Any) -> Facts:
    keys = FrameKeys("acme", "car-1", "front", known.pop("condition", Condition.CLEAR))
    return Facts(
        **{"frame_id": "f-1", "keys": keys, "lot": LOT, "brightness": 0.5, "laplacian_variance": 100}
        | {"parts": {"low_top_score": score}}
        | known
    )


@pytest.mark.parametrize(
    ("score", "changes", "verdict", "reason", "ranked"),
    [
        pytest.param(0.6, {}, KEPT, R.SCORE, 0.6, id="above-the-threshold-is-kept"),
        pytest.param(0.5, {}, KEPT, R.SCORE, 0.5, id="the-threshold-itself-is-kept"),
        pytest.param(0.4, {}, DROPPED, R.BELOW_THRESHOLD, 0.4, id="below-the-threshold-is-dropped"),
        pytest.param(0.6, {"brightness": 0.05}, DROPPED, R.BADLY_EXPOSED, None, id="too-dark"),
        pytest.param(0.6, {"brightness": 0.95}, DROPPED, R.BADLY_EXPOSED, None, id="too-bright"),
        pytest.param(0.6, {"brightness": 0.1}, KEPT, R.SCORE, 0.6, id="darkest-allowed-is-kept"),
        pytest.param(0.6, {"brightness": 0.9}, KEPT, R.SCORE, 0.6, id="brightest-allowed-is-kept"),
        pytest.param(0.6, {"laplacian_variance": 49}, DROPPED, R.BLURRED, None, id="blurred-is-dropped"),
        pytest.param(0.6, {"laplacian_variance": 50}, KEPT, R.SCORE, 0.6, id="just-sharp-enough-is-kept"),
        pytest.param(
            0.6, {"nearest_bits": 4}, DROPPED, R.NEAR_DUPLICATE, None, id="four-bits-away-is-a-near-duplicate"
        ),
        pytest.param(0.6, {"nearest_bits": 5}, KEPT, R.SCORE, 0.6, id="five-bits-away-is-not"),
        pytest.param(
            0.4,
            {"brightness": 0.05, "laplacian_variance": 1, "nearest_bits": 0},
            DROPPED,
            R.BADLY_EXPOSED,
            None,
            id="exposure-comes-before-blur-duplicate-and-score",
        ),
        pytest.param(
            0.4,
            {"laplacian_variance": 1, "nearest_bits": 0},
            DROPPED,
            R.BLURRED,
            None,
            id="blur-comes-before-duplicate-and-score",
        ),
        pytest.param(0.4, {"nearest_bits": 0}, DROPPED, R.NEAR_DUPLICATE, None, id="duplicate-comes-before-score"),
    ],
)
def test_the_order_of_the_rules(
    score: float, changes: dict[str, float], verdict: Verdict, reason: VerdictReason, ranked: float | None
) -> None:
    ruling = decide_frame(facts(score, **changes), POLICY, Context(0.5))
    assert ruling == Decision(verdict, (reason,), score, {"low_top_score": score}, ranked=ranked, chance=score)


def test_a_negative_distance_never_finds_a_duplicate() -> None:
    ruling = decide_frame(
        facts(0.6, nearest_bits=0), POLICY.model_copy(update={"duplicate_distance": -1}), Context(0.5)
    )
    assert ruling == Decision(KEPT, (R.SCORE,), 0.6, {"low_top_score": 0.6}, ranked=0.6, chance=0.6)


@pytest.mark.parametrize(
    ("score", "changes", "reasons", "ranked"),
    [
        pytest.param(0.4, {}, (R.AUDIT,), 0.4, id="what-the-score-would-drop"),
        pytest.param(0.6, {}, (R.AUDIT, R.SCORE), 0.6, id="what-the-score-keeps-and-both-are-told"),
        pytest.param(0.6, {"brightness": 0, "nearest_bits": 0}, (R.AUDIT,), None, id="what-the-rules-would-drop"),
    ],
)
def test_the_lot_keeps(
    score: float, changes: dict[str, float], reasons: tuple[VerdictReason, ...], ranked: float | None
) -> None:
    ruling = decide_frame(facts(score, **changes), ALL_AUDITED, Context(0.5))
    parts = {"low_top_score": score}
    assert ruling == Decision(KEPT, reasons, score, parts, audit=True, ranked=ranked, chance=score)


BIKE = ("bike at night",)


@pytest.mark.parametrize(
    ("score", "changes", "policy", "verdict", "reasons", "audit", "rules"),
    [
        pytest.param(0.4, {}, POLICY, KEPT, (R.RULE,), False, BIKE, id="whatever-its-score"),
        pytest.param(0.6, {}, POLICY, KEPT, (R.RULE,), False, BIKE, id="before-the-score"),
        pytest.param(
            0.4, {"laplacian_variance": 1}, POLICY, DROPPED, (R.BLURRED,), False, (), id="but-not-a-useless-one"
        ),
        pytest.param(0.4, {}, ALL_AUDITED, KEPT, (R.AUDIT, R.RULE), True, BIKE, id="beside-the-audit"),
    ],
)
def test_a_rule_keeps_a_frame_and_that_does_not_move_the_threshold(
    score: float,
    changes: dict[str, float],
    policy: ScreenPolicy,
    verdict: Verdict,
    reasons: tuple[VerdictReason, ...],
    audit: bool,
    rules: tuple[str, ...],
) -> None:
    ruling = decide_frame(facts(score, **changes), policy, Context(0.5, rules=BIKE))
    parts = {"low_top_score": score}
    assert ruling == Decision(verdict, reasons, score, parts, audit, ranked=None, rules=rules, chance=score)


@pytest.mark.parametrize(
    ("sharpness", "condition", "verdict", "reason"),
    [
        pytest.param(149, Condition.CLEAR, DROPPED, R.BLURRED, id="far-less-sharp-is-blurred"),
        pytest.param(151, Condition.CLEAR, KEPT, R.SCORE, id="a-little-sharper-is-not"),
        pytest.param(149, Condition.NIGHT, KEPT, R.SCORE, id="nor-is-a-single-one-at-night"),
    ],
)
def test_a_picture_far_less_sharp_than_its_camera_usually_is_is_blurred(
    sharpness: float, condition: Condition, verdict: Verdict, reason: VerdictReason
) -> None:
    policy, usual = POLICY.model_copy(update={"min_laplacian_variance": 0, "blur_ratio": 0.15}), Sharpness(1_000, 60)
    ruling = decide_frame(
        facts(0.6, laplacian_variance=sharpness, condition=condition), policy, Context(0.5, usual=usual)
    )
    assert (ruling.verdict, ruling.reasons) == (verdict, (reason,))


@pytest.mark.parametrize(
    ("known", "changes", "reason"),
    [
        pytest.param(NEAR | {"nearest_step": 0.6}, SCENES, R.NEAR_DUPLICATE, id="bits-and-scene-are-near"),
        pytest.param(NEAR | {"nearest_step": 0.61}, SCENES, R.SCORE, id="its-scene-is-not-near-enough"),
        pytest.param(NEAR | {"nearest_step": 9.0}, {}, R.NEAR_DUPLICATE, id="where-the-policy-asks-for-no-scene"),
        pytest.param(NEAR, SCENES, R.NEAR_DUPLICATE, id="where-scenes-cannot-be-compared"),
        pytest.param(FAR | {"nearest_step": 0.3}, SCENES, R.NEAR_DUPLICATE, id="the-scene-alone-is-very-near"),
        pytest.param(FAR | {"nearest_step": 0.31}, SCENES, R.SCORE, id="the-scene-alone-is-not-near-enough"),
        pytest.param(NEAR | {"new_object": True}, {}, R.SCORE, id="a-fixed-scene-with-a-new-object-survives"),
        pytest.param(NEAR | {"light_change": 0.002}, LIGHT, R.NEAR_DUPLICATE, id="in-the-same-light"),
        pytest.param(NEAR | {"light_change": 0.0021}, LIGHT, R.SCORE, id="in-another-light-it-is-none"),
        pytest.param(FAR | {"light_change": 0.0}, LIGHT, R.SCORE, id="the-same-light-alone-makes-none"),
        pytest.param(NEAR, LIGHT, R.NEAR_DUPLICATE, id="where-the-light-of-the-kept-one-is-not-known"),
        pytest.param(NEAR | {"light_change": 0.9}, {}, R.NEAR_DUPLICATE, id="where-the-policy-asks-for-no-light"),
        pytest.param(
            {"nothing_there": True, "like_empty": 0.6}, {"no_target_cosine": 0.6}, R.NO_TARGET, id="like-an-empty-one"
        ),
        pytest.param(
            {"nothing_there": True, "like_empty": 0.5}, {"no_target_cosine": 0.6}, R.SCORE, id="far-from-empty-ones"
        ),
        pytest.param({"nothing_there": True}, {"no_target_cosine": 0.6}, R.SCORE, id="no-empty-one-is-known"),
        pytest.param({"like_empty": 0.9}, {"no_target_cosine": 0.6}, R.SCORE, id="something-was-seen"),
        pytest.param({"nothing_there": True, "like_empty": 1.0}, {}, R.SCORE, id="not-asked-for"),
    ],
)
def test_what_a_whole_picture_says(known: dict[str, Any], changes: dict[str, float], reason: VerdictReason) -> None:
    ruling = decide_frame(facts(0.6, **known), POLICY.model_copy(update=changes), Context(0.5))
    assert ruling.reasons == (reason,)


def test_what_the_score_had_nothing_to_decide_on_does_not_move_the_threshold() -> None:
    for policy in (POLICY, ALL_AUDITED):
        assert decide_frame(facts(0.6, brightness=0), policy, Context(0.5)).ranked is None
        assert decide_frame(facts(0.4), policy, Context(0.5)).ranked == 0.4


def test_a_controlled_threshold_is_a_score_and_the_lots_of_equal_scores_decide() -> None:
    policy = POLICY.model_copy(update={"controlled": True})
    threshold = 0.5999999889858515  # f-1's score of 0.6, with its lot behind the sixth digit
    kept = decide_frame(facts(0.6), policy, Context(threshold))
    assert (kept.verdict, kept.score, kept.ranked) == (KEPT, 0.6, 0.5999999889858515)
    rulings = [decide_frame(facts(0.6, frame_id=f"f-{n}"), policy, Context(threshold)) for n in range(200)]
    assert {ruling.verdict for ruling in rulings} == {KEPT, DROPPED}
    assert all((ruling.verdict is KEPT) == ((ruling.ranked or 0) >= threshold) for ruling in rulings)


@pytest.mark.parametrize("reason", [R.OBJECT_MISSING, R.OBJECT_CHANGED, R.REFUSED_BY_MODEL])
@pytest.mark.parametrize("policy", [POLICY, ALL_AUDITED], ids=["without-audit", "even-where-all-is-audited"])
def test_what_cannot_be_judged_is_quarantined(reason: VerdictReason, policy: ScreenPolicy) -> None:
    unjudged = facts(0, brightness=0, nearest_bits=0, parts={}, unjudged=Unjudged(reason, "why"))
    ruling = decide_frame(unjudged, policy, Context(0))
    assert ruling == Decision(QUARANTINED, (reason,), detail="why")


def test_the_lot_is_fair_and_does_not_change() -> None:
    lots = [draw_lot(f"frame-{number}", SALT) for number in range(4000)]
    assert lots[:3] == [0.4020478127731839, 0.6526418443687597, 0.2823584008954369]
    assert lots == [draw_lot(f"frame-{number}", SALT) for number in range(4000)]
    others = [draw_lot(f"frame-{number}", b"another salt of 16+") for number in range(4000)]
    assert sum(abs(one - other) < 0.01 for one, other in zip(lots, others, strict=True)) < 200, "the salt decides"
    assert all(0 <= lot < 1 for lot in lots)
    assert 0.08 < sum(lot < 0.1 for lot in lots) / len(lots) < 0.12
    assert 0.47 < sum(lots) / len(lots) < 0.53


def test_a_smaller_share_audits_a_part_of_what_a_larger_one_does() -> None:
    def audited(share: float) -> set[int]:
        policy = POLICY.model_copy(update={"audit_share": share})
        lots = {n: draw_lot(f"f-{n}", SALT) for n in range(300)}
        rulings = {
            n: decide_frame(facts(0.1, frame_id=f"f-{n}", lot=lot), policy, Context(1)) for n, lot in lots.items()
        }
        return {n for n, ruling in rulings.items() if ruling.audit}

    assert set() == audited(0) < audited(0.1) < audited(0.5) < audited(1) == set(range(300))


@pytest.mark.parametrize(
    ("spread", "echo", "total"),
    [
        pytest.param(0.0, 3.0, 0.6, id="not-at-all"),
        pytest.param(0.5, 0.0, 0.6, id="nothing-was-kept"),
        pytest.param(0.5, 2.0, 0.3, id="two-were-just-kept"),
        pytest.param(1.0, 2.0, 0.2, id="and-count-for-more"),
    ],
)
def test_a_frame_counts_less_while_hard_ones_of_its_drive_were_just_kept(
    spread: float, echo: float, total: float
) -> None:
    policy = POLICY.model_copy(update={"spread": spread, "predictor": ErrorPredictor(intercept=log(1.5), weights={})})
    ruling = decide_frame(facts(0.6), policy, Context(0.5, echo=echo))
    assert (ruling.score, ruling.echo, ruling.chance) == (total, echo, 0.6)
    unlearned = decide_frame(facts(0.6), policy.model_copy(update={"predictor": None}), Context(0.5, echo=echo))
    assert unlearned.score == 0.6, "fixed weights make no chances: there is nothing to spread"
