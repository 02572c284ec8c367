"""How much would this frame teach? Transparent parts, each 0..1, and their weighted mean. Pure."""

from collections.abc import Mapping, Sequence
from math import exp, log2

from screen.detections import Box, iou, match

CONFIDENT = 0.35


def entropy(p: float) -> float:
    """Return the entropy of a yes-no question in bits, 0..1."""
    return 0.0 if p <= 0 or p >= 1 else -p * log2(p) - (1 - p) * log2(1 - p)


def uncertainty(boxes: Sequence[Box]) -> float:
    """Return the mean entropy of the three most uncertain boxes: three, so that a crowd cannot win by its number."""
    return sum(sorted((entropy(box.score) for box in boxes), reverse=True)[:3]) / 3


def low_top_score(boxes: Sequence[Box]) -> float:
    """Return 1 - the best score: where a model sees nothing it is silent, not certain."""
    return 1.0 - max((box.score for box in boxes), default=0.0)


def disagreement(ours: Sequence[Box], theirs: Sequence[Box]) -> float:
    """Return how differently two models see a frame, 0 (the same) to 1.

    Sum over matched or lonely boxes with a score of at least 0.35 in either: |difference| of the scores where the
    class is the same, else the larger score; 1 - IoU on top where both are above 0.5. Squashed by 1 - exp(-sum).
    """
    total = 0.0
    for one, other in match(ours, theirs):
        scores = [box.score for box in (one, other) if box is not None]
        if max(scores) < CONFIDENT:
            continue
        if one is None or other is None or one.class_name != other.class_name:
            total += max(scores)
        else:
            total += abs(one.score - other.score)
            total += 1 - iou(one, other) if min(scores) > 0.5 else 0.0
    return 1 - exp(-total)


def parts(ours: Sequence[Box], theirs: Sequence[Box] | None) -> dict[str, float]:
    """Score a frame by every part that can be had; `theirs` is None where no second model serves."""
    found = {"uncertainty": uncertainty(ours), "low_top_score": low_top_score(ours)}
    if theirs is not None:
        found["disagreement"] = disagreement(ours, theirs)
    return {name: round(value, 6) for name, value in found.items()}


def combine(found: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return the weighted mean of the parts that are there, 0..1; every part counts alike where no weight is given."""
    used = {name: weights.get(name, 0.0) for name in found} if weights else dict.fromkeys(found, 1.0)
    total = sum(used.values())
    if total <= 0:
        return 0.0
    return round(min(1.0, max(0.0, sum(found[name] * weight for name, weight in used.items()) / total)), 6)
