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


def measure_inconsistency(unit: Sequence[Sequence[Box]], at: int) -> float:
    """Return how little a picture's boxes fit those before and after it, 0 (well) to 1; squashed by 1 - exp(-sum)."""
    if not 0 < at < len(unit) - 1:
        return 0.0
    before = _select_present(unit[max(0, at - REACH) : at])
    after = _select_present(unit[at + 1 : at + 1 + REACH])
    now = _select_present(unit[at : at + 1])
    total = _sum_gaps(before, now, after) + sum(
        _measure_strangeness(box, before, after) for box in now if box.score >= SEEN
    )
    return 1 - exp(-total)


def _select_present(pictures: Sequence[Sequence[Box]]) -> list[Box]:
    return [box for boxes in pictures for box in boxes if box.score >= ABSENT]


def _sum_gaps(before: Sequence[Box], now: Sequence[Box], after: Sequence[Box]) -> float:
    """Sum over objects seen before and after, and not now: the smaller of their scores."""
    total = 0.0
    for box in _select_distinct(before):
        if box.score < SEEN or _find_best_score(box, now) >= SEEN:
            continue
        score_after = _find_best_score(box, after)
        total += min(box.score, score_after) if score_after >= SEEN else 0.0
    return total


def _select_distinct(boxes: Sequence[Box]) -> list[Box]:
    """Return each object once, where it was seen best."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda b: -b.score):
        if all(other.class_name != box.class_name or iou(other, box) < LINKED for other in kept):
            kept.append(box)
    return kept


def _find_best_score(box: Box, others: Sequence[Box]) -> float:
    """Return the best score of an object of its class at this place; 0 where there is none."""
    scores = (other.score for other in others if other.class_name == box.class_name and iou(other, box) >= LINKED)
    return max(scores, default=0.0)


def _measure_strangeness(box: Box, before: Sequence[Box], after: Sequence[Box]) -> float:
    """Return the score of a box that is there for one picture only, or that is of another class before and after."""
    if max(_find_best_score(box, before), _find_best_score(box, after)) >= ABSENT:
        return 0.0
    is_flip = min(_find_best_score_of_others(box, before), _find_best_score_of_others(box, after)) >= SEEN
    return box.score if is_flip or not _at_edge(box) else 0.0


def _find_best_score_of_others(box: Box, others: Sequence[Box]) -> float:
    scores = (other.score for other in others if other.class_name != box.class_name and iou(other, box) >= LINKED)
    return max(scores, default=0.0)


def _at_edge(box: Box) -> bool:
    """Say whether a box touches the border: what enters or leaves the picture is there for one picture only."""
    return min(box.x1, box.y1) < EDGE or max(box.x2, box.y2) > 1 - EDGE
