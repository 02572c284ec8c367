"""What a model saw in one picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from roadloop_schemas.frames import VerdictReason

SURELY_THERE, PERHAPS_THERE = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class Box:
    """One detection: corners in parts of the picture, probability 0..1, class by name."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    class_name: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model makes of one picture: its boxes, and the whole as an embedding (`embedding.py`; empty for none)."""

    boxes: tuple[Box, ...]
    embedding: bytes = b""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the models saw in a frame. `second` is None where no second model serves; `embedding` is packed."""

    boxes: tuple[Box, ...]
    second: tuple[Box, ...] | None = None
    embedding: bytes = b""

    @property
    def all_boxes(self) -> tuple[Box, ...]:
        return (*self.boxes, *(self.second or ()))


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Why no model could judge a frame."""

    reason: VerdictReason
    detail: str


def iou(box: Box, other: Box) -> float:
    """Return intersection over union, 0..1; without `min` and `max`, for it is asked some fifty times a frame."""
    width = (box.x2 if box.x2 < other.x2 else other.x2) - (box.x1 if box.x1 > other.x1 else other.x1)
    if width <= 0:
        return 0.0
    height = (box.y2 if box.y2 < other.y2 else other.y2) - (box.y1 if box.y1 > other.y1 else other.y1)
    if height <= 0:
        return 0.0
    shared = width * height
    return shared / (area(box) + area(other) - shared)


def area(box: Box) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def match(boxes: Sequence[Box], others: Sequence[Box], at_least: float = 0.5) -> list[tuple[Box | None, Box | None]]:
    """Pair boxes of IoU `at_least`, the best scored ones first: with one of their own class, else with any.

    Each has one partner at most; the rest stays alone.
    """
    free, alone = list(others), list[Box]()
    pairs: list[tuple[Box | None, Box | None]] = []
    for box in sorted(boxes, key=lambda b: -b.score):
        if not _pair(box, [other for other in free if other.class_name == box.class_name], at_least, free, pairs):
            alone.append(box)
    for box in alone:
        if not _pair(box, free, at_least, free, pairs):
            pairs.append((box, None))
    return pairs + [(None, other) for other in free]


def _pair(
    box: Box, fitting: Sequence[Box], at_least: float, free: list[Box], pairs: list[tuple[Box | None, Box | None]]
) -> bool:
    partner = max(fitting, key=lambda other: iou(box, other), default=None)
    if partner is None or iou(box, partner) < at_least:
        return False
    free.remove(partner)
    pairs.append((box, partner))
    return True


def select_claims(boxes: Sequence[Box], at_least: float, covered: float = 0.6) -> list[Box]:
    """Return what a model claims is there: boxes from a score on, best first, and one at a place, whatever its class.

    Detectors give several classes to one thing; all but the best are doubt, no claim.
    """
    kept: list[Box] = []
    for box in sorted((box for box in boxes if box.score >= at_least), key=lambda b: -b.score):
        if all(iou(box, better) < covered for better in kept):
            kept.append(box)
    return kept
