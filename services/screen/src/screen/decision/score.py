"""How much would this frame teach? Transparent parts, each 0..1, and what they come to together. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations
from math import exp, log2
from types import MappingProxyType

from roadloop_schemas.fields import Condition
from roadloop_schemas.policies import ErrorPredictor, ScreenPolicy
from screen.decision.model_disagreement import CONFIDENT, NO_WEIGHTS
from screen.vision.detections import PERHAPS_THERE, Box, iou, select_claims

OVERLAPPING = 0.1
FIXED_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"uncertainty": 1.0, "disagreement": 1.0, "crowd": 1.0, "unusual": 1.0}
)


def entropy(p: float) -> float:
    """Return the entropy of a yes-no question in bits, 0..1."""
    return 0.0 if p <= 0 or p >= 1 else -p * log2(p) - (1 - p) * log2(1 - p)


def uncertainty(boxes: Sequence[Box], class_weights: Mapping[str, float] = NO_WEIGHTS) -> float:
    """Return the mean entropy of the three most uncertain boxes: three, so that a crowd cannot win by its number.

    A class counts by its weight, 0 to 2, and 1 where it has none.
    """
    entropies = (entropy(box.score) * class_weights.get(box.class_name, 1.0) for box in boxes)
    return min(1.0, sum(sorted(entropies, reverse=True)[:3]) / 3)


def low_top_score(boxes: Sequence[Box]) -> float:
    """Return 1 - the best score: where a model sees nothing it is silent, not certain."""
    return 1.0 - max((box.score for box in boxes), default=0.0)


def objects(boxes: Sequence[Box]) -> float:
    """Return how many things a model claims, squashed by n / (n + 5): more of them, more to be wrong about."""
    claims = len(select_claims(boxes, CONFIDENT))
    return claims / (claims + 5)


def crowd(boxes: Sequence[Box]) -> float:
    """Return how many boxes are neither clearly something nor clearly nothing, 0.15 to 0.6; squashed by n / (n + 3)."""
    unsettled = sum(0.15 <= box.score <= 0.6 for box in boxes)
    return unsettled / (unsettled + 3)


def overlap(boxes: Sequence[Box]) -> float:
    """Return how many pairs of things overlap, squashed by n / (n + 2): what stands before another thing hides it.

    Things are what a model perhaps sees, from a score of 0.2 on; a pair overlaps by at least a tenth of its union.
    """
    things = select_claims(boxes, PERHAPS_THERE)
    pairs = sum(iou(one, other) >= OVERLAPPING for one, other in combinations(things, 2))
    return pairs / (pairs + 2)


def combine(parts: Mapping[str, float], condition: Condition, policy: ScreenPolicy) -> float:
    """Return a frame's score, 0..1: the chance of an error where the policy has a predictor, else the weighted mean.

    Where the policy gives no weights, those of `FIXED_WEIGHTS` count.
    """
    if policy.predictor is not None:
        return round(chance(parts, condition, policy.predictor), 6)
    weights = policy.weights or FIXED_WEIGHTS
    total = weighed = 0.0
    for name, value in parts.items():
        weight = weights.get(name, 0.0)
        total += weight
        weighed += value * weight
    return round(min(1.0, max(0.0, weighed / total)), 6) if total > 0 else 0.0


def scale_of(policy: ScreenPolicy) -> str:
    """Name what a policy makes scores of: those of another scale cannot be compared. "" for the fixed weights."""
    if policy.predictor is None and not policy.weights and not policy.class_weights:
        return ""
    return _scale_of(_Same(policy))


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """A policy that equals itself alone: to compare what it holds takes as long as to name its scale anew."""

    policy: ScreenPolicy

    def __hash__(self) -> int:
        return id(self.policy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.policy is other.policy


@lru_cache(maxsize=1_000)
def _scale_of(same: _Same) -> str:
    policy = same.policy
    weighed_by = policy.weights if policy.predictor is None else _weights_of(policy.predictor)
    return blake2b(repr((weighed_by, policy.class_weights)).encode(), digest_size=6).hexdigest()


def _weights_of(predictor: ErrorPredictor) -> tuple[object, ...]:
    """Return what makes a predictor's scores; one without conditions, from before there were any, is as it was."""
    conditions = {condition.value: weight for condition, weight in predictor.conditions.items()}
    return (predictor.intercept, predictor.weights, *((conditions,) if conditions else ()))


def chance(parts: Mapping[str, float], condition: Condition, predictor: ErrorPredictor) -> float:
    """Return the chance that the serving model errs in a frame, 0..1; a part that is not there counts as its mean."""
    weighed = (weight * parts.get(name, predictor.means.get(name, 0.0)) for name, weight in predictor.weights.items())
    logit = predictor.intercept + sum(weighed)
    logit += predictor.conditions.get(condition, 0.0)
    return 1 / (1 + exp(-min(500.0, max(-500.0, logit))))
