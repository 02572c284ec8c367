"""How many errors a model made in a frame that people have labelled. Pure."""

from collections.abc import Sequence

from roadloop_schemas.fields import LabelBox
from screen.vision.detections import Box, iou

SERVED_FROM = 0.35
SAME_PLACE = 0.5


def count_errors(boxes: Sequence[Box], labels: Sequence[LabelBox]) -> int:
    """Count objects that were missed, detections of nothing, and objects taken for another class; each is one error.

    Detections count from a score of 0.35; the best ones choose first, a label of their own class before any other. A
    label stands for one detection: a thing that is seen twice is wrong once.
    """
    missing = [Box(label.x1, label.y1, label.x2, label.y2, 1.0, label.class_name) for label in labels]
    wrong: list[Box] = []
    for box in sorted((box for box in boxes if box.score >= SERVED_FROM), key=lambda box: -box.score):
        same = [label for label in missing if label.class_name == box.class_name]
        if (label := _find_at_place(box, same)) is not None:
            missing.remove(label)
        else:
            wrong.append(box)
    unmatched = list(missing)
    return len(missing) + sum(_take(box, unmatched) is None for box in wrong)


def _take(box: Box, labels: list[Box]) -> Box | None:
    """Take the label at a detection's place out of the list, and return it; None where there is none."""
    if (label := _find_at_place(box, labels)) is not None:
        labels.remove(label)
    return label


def _find_at_place(box: Box, labels: Sequence[Box]) -> Box | None:
    best = max(labels, key=lambda label: iou(box, label), default=None)
    return best if best is not None and iou(box, best) >= SAME_PLACE else None
