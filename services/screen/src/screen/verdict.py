"""Keep, drop or quarantine a frame, and why. Pure: facts and a policy in, a value out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import IngestedFrame, ScreenPolicy, Verdict, VerdictReason
from screen import score
from screen.detections import Box
from screen.keep_rate import rank
from screen.sharpness import NOTHING_USUAL, Sharpness, is_blurred


@dataclass(frozen=True, slots=True)
class Judged:
    """What the models saw in a frame. `second` is None where no second model serves."""

    boxes: tuple[Box, ...]
    second: tuple[Box, ...] | None = None


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Why no model could judge a frame."""

    reason: VerdictReason
    detail: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict on one frame with all that led to it. `score` is None where the frame was not judged.

    `ranked` is what was compared with the threshold; None where the score had nothing to decide.
    """

    verdict: Verdict
    reasons: tuple[VerdictReason, ...]
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    audit: bool = False
    ranked: float | None = None
    rules: tuple[str, ...] = ()
    detail: str = ""


def draw(frame_id: str, salt: bytes) -> float:
    """Return a frame's lot, uniform in [0, 1): from its id, so that a replay draws the same.

    A frame's id follows from its picture, which its sender chooses: the salt is a secret, at most 64 bytes, so that
    nobody can tell which of his frames will check the screening.
    """
    return int.from_bytes(blake2b(frame_id.encode(), digest_size=7, key=salt).digest(), "big") / 2**56


@dataclass(frozen=True, slots=True)
class Standing:
    """What a frame meets: its lot, its slice's threshold, the nearest kept frame in bits of 64, its camera's sharpness.

    `lot` is uniform in [0, 1), `threshold` 0..1; `rules` are the names of the rules that would keep it.
    """

    lot: float
    threshold: float
    nearest_kept: int | None = None
    usual: Sharpness = NOTHING_USUAL
    rules: tuple[str, ...] = ()


def rule(frame: IngestedFrame, seen: Judged | Unjudged, policy: ScreenPolicy, standing: Standing) -> Ruling:
    """Say whether a frame goes to labelling.

    Order: can it be judged? - audit by lot, before every rule, so that the audit shows what the rules miss - blur and
    exposure - near duplicate of a kept frame - named rules - score against the threshold.
    A controlled threshold is one of the scores themselves: there the frame's lot tells equal scores apart.
    """
    if isinstance(seen, Unjudged):
        return Ruling(Verdict.QUARANTINED, (seen.reason,), detail=seen.detail)
    found = score.parts(seen.boxes, seen.second)
    total = score.combine(found, policy.weights)
    audit = standing.lot < policy.audit_share
    ranked = rank(total, frame.frame_id) if policy.controlled else total
    if dropped := _useless(frame, policy, standing):
        reasons: Sequence[VerdictReason] = (VerdictReason.AUDIT,) if audit else (dropped,)
    elif standing.rules:
        reasons = (VerdictReason.AUDIT, VerdictReason.RULE) if audit else (VerdictReason.RULE,)
    elif ranked >= standing.threshold:
        reasons = (VerdictReason.AUDIT, VerdictReason.SCORE) if audit else (VerdictReason.SCORE,)
    else:
        reasons = (VerdictReason.AUDIT,) if audit else (VerdictReason.BELOW_THRESHOLD,)
    kept = audit or reasons[-1] in (VerdictReason.SCORE, VerdictReason.RULE)
    by_rule = standing.rules if VerdictReason.RULE in reasons else ()
    verdict = Verdict.KEPT if kept else Verdict.DROPPED
    return Ruling(verdict, tuple(reasons), total, found, audit, None if dropped or by_rule else ranked, by_rule)


def _useless(frame: IngestedFrame, policy: ScreenPolicy, standing: Standing) -> VerdictReason | None:
    darkest, brightest = policy.brightness
    if not darkest <= frame.brightness <= brightest:
        return VerdictReason.BADLY_EXPOSED
    if frame.laplacian_variance < policy.min_laplacian_variance or _is_blurred(frame, policy, standing.usual):
        return VerdictReason.BLURRED
    if standing.nearest_kept is not None and standing.nearest_kept <= policy.duplicate_distance:
        return VerdictReason.NEAR_DUPLICATE
    return None


def _is_blurred(frame: IngestedFrame, policy: ScreenPolicy, usual: Sharpness) -> bool:
    at_night = frame.condition is Condition.NIGHT
    return is_blurred(usual, frame.laplacian_variance, ratio=policy.blur_ratio, at_night=at_night)
