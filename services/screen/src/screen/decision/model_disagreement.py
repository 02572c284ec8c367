"""How differently two models decide on a frame. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from screen.vision.detections import Box, match, select_claims

CONFIDENT = 0.35
NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})


def measure_disagreement(
    ours: Sequence[Box], theirs: Sequence[Box], class_weights: Mapping[str, float] = NO_WEIGHTS
) -> float:
    """Return how differently two models decide on a frame, 0 (the same) to 1: n / (n + 2) of n claims that differ.

    A claim is a box with a score of at least 0.35, one per place. It differs where the other model claims another class
    at that place, or nothing; each counts by the weight of its class. How sure they are is left out: two networks'
    scores are not calibrated alike, and their differences drown what they decide.
    """
    pairs = match(select_claims(ours, CONFIDENT), select_claims(theirs, CONFIDENT))
    differing = sum(_apart(ours_box, theirs_box, class_weights) for ours_box, theirs_box in pairs)
    return differing / (differing + 2)


def _apart(one: Box | None, other: Box | None, class_weights: Mapping[str, float]) -> float:
    if one is not None and other is not None and one.class_name == other.class_name:
        return 0.0
    best = max((box for box in (one, other) if box is not None), key=lambda box: box.score)
    return class_weights.get(best.class_name, 1.0)
