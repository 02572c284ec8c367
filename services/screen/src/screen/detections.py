"""What a model saw in one picture."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """One detection: corners in parts of the picture, probability 0..1, class by name."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    class_name: str


def iou(one: Box, other: Box) -> float:
    """Return intersection over union, 0..1."""
    width = min(one.x2, other.x2) - max(one.x1, other.x1)
    height = min(one.y2, other.y2) - max(one.y1, other.y1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (area(one) + area(other) - shared)


def area(box: Box) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def match(ours: Sequence[Box], theirs: Sequence[Box], at_least: float = 0.5) -> list[tuple[Box | None, Box | None]]:
    """Pair boxes greedily by score, each with its best free partner of IoU `at_least`; the rest stays alone."""
    free = list(theirs)
    pairs: list[tuple[Box | None, Box | None]] = []
    for box in sorted(ours, key=lambda b: -b.score):
        partner = max(free, key=lambda other: iou(box, other), default=None)
        if partner is None or iou(box, partner) < at_least:
            pairs.append((box, None))
        else:
            free.remove(partner)
            pairs.append((box, partner))
    return pairs + [(None, other) for other in free]
