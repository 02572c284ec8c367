"""Keep, drop or quarantine a frame, and why. Pure: facts and a policy in, a value out."""

from collections.abc import Mapping
from typing import NamedTuple

from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import Verdict, VerdictReason
from roadloop_schemas.policies import ScreenPolicy
from screen.decision import score
from screen.decision.facts import NO_PARTS, Facts
from screen.memory.keep_rate import rank
from screen.memory.repeat_discount import discount
from screen.memory.sharpness import NOTHING_USUAL, Sharpness, is_blurred

KEPT, DROPPED = Verdict.KEPT, Verdict.DROPPED  # a call each, in Python 3.11
SCORE, RULE, BELOW_THRESHOLD = VerdictReason.SCORE, VerdictReason.RULE, VerdictReason.BELOW_THRESHOLD
BY_SCORE = (SCORE, BELOW_THRESHOLD)


class Decision(NamedTuple):
    """The verdict on one frame with all that led to it. `score` is None where the frame was not judged.

    `chance` is what its parts alone come to, before it was held against the `echo` of frames of its camera's drive that
    were kept a short while ago. `ranked` is what was compared with the threshold; None where the score had nothing to
    decide.
    """

    verdict: Verdict
    reasons: tuple[VerdictReason, ...]
    score: float | None = None
    parts: Mapping[str, float] = NO_PARTS
    audit: bool = False
    ranked: float | None = None
    rules: tuple[str, ...] = ()
    echo: float = 0.0
    chance: float = 0.0
    detail: str = ""


class Context(NamedTuple):
    """What a frame meets: its slice's threshold, 0..1, its camera's usual sharpness, and the rules that may keep it.

    `echo` is how many hard frames of its camera's drive were kept a short while ago, by their chances, each faded by
    its age.
    """

    threshold: float
    usual: Sharpness = NOTHING_USUAL
    rules: tuple[str, ...] = ()
    echo: float = 0.0


def decide_frame(facts: Facts, policy: ScreenPolicy, context: Context) -> Decision:
    """Say whether a frame goes to labelling.

    Order: can it be judged? - audit by lot, before every rule, so that the audit shows what the rules miss - what
    `_first_reason` says. A controlled threshold is one of the scores themselves: there the frame's lot tells equal
    scores apart.
    """
    if facts.unjudged is not None:
        return Decision(Verdict.QUARANTINED, (facts.unjudged.reason,), detail=facts.unjudged.detail)
    spread = policy.spread if policy.predictor else 0.0  # the fixed weights' scores are no chances: it would drown them
    chance = score.combine(facts.parts, facts.keys.condition, policy)
    total = discount(chance, context.echo, spread)
    ranked = rank(total, facts.frame_id) if policy.controlled else total
    reason = _first_reason(facts, policy, context, ranked)
    audit = facts.lot < policy.audit_share
    by_score = ranked if reason in BY_SCORE else None
    by_rule = context.rules if reason is RULE else ()
    return Decision(*_with_audit(reason, audit), total, facts.parts, audit, by_score, by_rule, context.echo, chance)


def _first_reason(facts: Facts, policy: ScreenPolicy, context: Context, ranked: float) -> VerdictReason:
    """Return the first reason that holds: it is the order of the rules."""
    darkest, brightest = policy.brightness
    if not darkest <= facts.brightness <= brightest:
        return VerdictReason.BADLY_EXPOSED
    if facts.laplacian_variance < policy.min_laplacian_variance or _is_blurred(facts, policy, context.usual):
        return VerdictReason.BLURRED
    if _is_duplicate(facts, policy):
        return VerdictReason.NEAR_DUPLICATE
    if policy.no_target_cosine and facts.nothing_there and (facts.like_empty or 0) >= policy.no_target_cosine:
        return VerdictReason.NO_TARGET
    if context.rules:
        return RULE
    return SCORE if ranked >= context.threshold else BELOW_THRESHOLD


def _with_audit(reason: VerdictReason, audit: bool) -> tuple[Verdict, tuple[VerdictReason, ...]]:
    """Return a verdict with its reasons: the audit keeps what anything else would drop."""
    keeps = reason is SCORE or reason is RULE
    if not audit:
        return KEPT if keeps else DROPPED, (reason,)
    return KEPT, (VerdictReason.AUDIT, reason) if keeps else (VerdictReason.AUDIT,)


def _is_duplicate(facts: Facts, policy: ScreenPolicy) -> bool:
    if facts.new_object or facts.nearest_bits is None:
        return False
    if policy.duplicate_light and (facts.light_change or 0) > policy.duplicate_light:
        return False
    has_near_bits = facts.nearest_bits <= policy.duplicate_distance
    if facts.nearest_step is None or not policy.duplicate_step:
        return has_near_bits
    return facts.nearest_step <= policy.duplicate_step * (1.0 if has_near_bits else 0.5)


def _is_blurred(facts: Facts, policy: ScreenPolicy, usual: Sharpness) -> bool:
    at_night = facts.keys.condition is Condition.NIGHT
    return is_blurred(usual, facts.laplacian_variance, ratio=policy.blur_ratio, at_night=at_night)
