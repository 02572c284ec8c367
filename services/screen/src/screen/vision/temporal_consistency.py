"""What does not hold together along a drive: an object that is gone for one picture, there for one, or changes class.

Pure. Looks two pictures back and two ahead within a unit; at its ends there is less to see.
Source: temporal graph (Bengar and others, 2019), model assertions (Kang and others, 2020).
"""

from collections.abc import Sequence
from math import exp

from screen.vision.detections import Box, iou

SEEN, ABSENT = 0.35, 0.2
LINKED = 0.3  # intersection over union from one picture to the next
REACH = 2
EDGE = 0.03


def inconsistency(unit: Sequence[Sequence[Box]], at: int) -> float:
    """Return how little a picture's boxes fit those before and after it, 0 (well) to 1; squashed by 1 - exp(-sum)."""
    if not 0 < at < len(unit) - 1:
        return 0.0
    before = _there(unit[max(0, at - REACH) : at])
    after = _there(unit[at + 1 : at + 1 + REACH])
    now = _there(unit[at : at + 1])
    found = _gaps(before, now, after) + sum(_strangeness(box, before, after) for box in now if box.score >= SEEN)
    return 1 - exp(-found)


def _there(pictures: Sequence[Sequence[Box]]) -> list[Box]:
    return [box for boxes in pictures for box in boxes if box.score >= ABSENT]


def _gaps(before: Sequence[Box], now: Sequence[Box], after: Sequence[Box]) -> float:
    """Sum over objects seen before and after, and not now: the smaller of their scores."""
    total = 0.0
    for box in _distinct(before):
        if box.score < SEEN or _best(box, now) >= SEEN:
            continue
        again = _best(box, after)
        total += min(box.score, again) if again >= SEEN else 0.0
    return total


def _distinct(boxes: Sequence[Box]) -> list[Box]:
    """Return each object once, where it was seen best."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda b: -b.score):
        if all(other.class_name != box.class_name or iou(other, box) < LINKED for other in kept):
            kept.append(box)
    return kept


def _best(box: Box, others: Sequence[Box]) -> float:
    """Return the best score of an object of its class at this place; 0 where there is none."""
    scores = (o.score for o in others if o.class_name == box.class_name and iou(o, box) >= LINKED)
    return max(scores, default=0.0)


def _strangeness(box: Box, before: Sequence[Box], after: Sequence[Box]) -> float:
    """Return the score of a box that is there for one picture only, or that is of another class before and after."""
    if max(_best(box, before), _best(box, after)) >= ABSENT:
        return 0.0
    is_flip = min(_best_other(box, before), _best_other(box, after)) >= SEEN
    return box.score if is_flip or not _at_edge(box) else 0.0


def _best_other(box: Box, others: Sequence[Box]) -> float:
    scores = (o.score for o in others if o.class_name != box.class_name and iou(o, box) >= LINKED)
    return max(scores, default=0.0)


def _at_edge(box: Box) -> bool:
    """Say whether a box touches the border: what enters or leaves the picture is there for one picture only."""
    return min(box.x1, box.y1) < EDGE or max(box.x2, box.y2) > 1 - EDGE
