"""From a network's answer to detections: what differs between families is how boxes and scores lie in its tensors."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .canvas import Fit, undo
from .card import Card

MAX_DETECTIONS = 100
MAX_CANDIDATES = 400  # per picture, best first, before suppression
Floats = NDArray[np.float32]
Answer = Mapping[str, Floats]  # of one picture: what a tensor is for -> the tensor


class WrongAnswer(ValueError):
    """A network answers in another shape than its card says."""


class DetectorResult(NamedTuple):
    """A picture's detections, best first."""

    detections: Floats  # [N, 6]: x1, y1, x2, y2 in 0..1, score, class index
    probabilities: Floats  # [N, C]
    embedding: Floats  # [D]


class RawBoxes(NamedTuple):
    """What a network says of one picture, one row per box, as its tensors have it."""

    boxes: Floats  # [N, 4], in the card's format and unit
    scores: Floats  # [N, C]; C + 1 where the last stands for no object
    objectness: Floats | None = None  # [N, 1]


class Candidates(NamedTuple):
    """Boxes that may be objects, best first."""

    rows: NDArray[np.intp]  # [M], of what was said
    scores: Floats  # [M]
    classes: NDArray[Any]  # [M], indices


def split(answer: Answer, card: Card) -> RawBoxes:
    """Take a network's answer apart. Raises WrongAnswer where its shape is not what the card says."""
    raw_boxes = _SPLIT[card.family](answer, card)
    columns = len(card.classes) + card.no_object
    if raw_boxes.scores.ndim != 2 or raw_boxes.scores.shape[1] != columns:
        raise WrongAnswer(
            f"the scores are {list(raw_boxes.scores.shape)} per picture, but {len(card.classes)} classes"
            f"{' and one for no object' if card.no_object else ''} make [N, {columns}]"
        )
    if raw_boxes.boxes.shape != (len(raw_boxes.scores), 4):
        raise WrongAnswer(f"the boxes are {list(raw_boxes.boxes.shape)} per picture, not [{len(raw_boxes.scores)}, 4]")
    return raw_boxes


def _split_roadloop(answer: Answer, card: Card) -> RawBoxes:
    if answer["detections"].ndim != 2 or answer["detections"].shape[1] != 6:
        raise WrongAnswer(f"the detections are {list(answer['detections'].shape)} per picture, not [N, 6]")
    return RawBoxes(answer["detections"][:, :4], answer["probabilities"])


def _split_boxes_and_scores(answer: Answer, card: Card) -> RawBoxes:
    return RawBoxes(answer["boxes"], answer["scores"])


def _split_single_tensor(answer: Answer, card: Card) -> RawBoxes:
    table, width = answer["predictions"], 4 + card.objectness + len(card.classes) + card.no_object
    if table.ndim == 2 and table.shape[0] == width != table.shape[1]:
        table = table.T
    if table.ndim != 2 or table.shape[1] != width:
        raise WrongAnswer(
            f"the predictions are {list(table.shape)} per picture, but 4 for a box"
            f"{', 1 for objectness' if card.objectness else ''} and {len(card.classes)} classes make {width}"
        )
    return RawBoxes(table[:, :4], table[:, 4 + card.objectness :], table[:, 4:5] if card.objectness else None)


_SPLIT: dict[str, Callable[[Answer, Card], RawBoxes]] = {
    "roadloop": _split_roadloop,
    "nanodet": _split_boxes_and_scores,
    "yolo": _split_single_tensor,
    "detr": _split_boxes_and_scores,
}


def compute_probabilities(raw_boxes: RawBoxes, card: Card) -> Floats:
    """Return [N, C] in 0..1: what is left to do to the scores is done."""
    chances: Floats = activate(raw_boxes.scores, card.activation)[:, : len(card.classes)]
    if raw_boxes.objectness is not None:
        chances = chances * activate(raw_boxes.objectness, card.activation)
    return chances


def activate(scores: Floats, activation: str) -> Floats:
    """Make probabilities of a network's raw scores [N, C]."""
    if activation == "sigmoid":
        chances: Floats = (0.5 * (1 + np.tanh(scores / 2))).astype(np.float32)
        return chances
    if activation == "softmax":
        powers = np.exp(scores - scores.max(1, keepdims=True))
        shares: Floats = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
        return shares
    return scores


def _choose(answer: Answer, chances: Floats, card: Card) -> Candidates:
    rows: NDArray[np.intp] = np.arange(len(chances))
    classes: NDArray[Any]
    if card.family == "roadloop":  # has chosen in its graph
        scores, classes = answer["detections"][:, 4], answer["detections"][:, 5]
    elif card.family == "nanodet":  # a cell speaks for each class above the floor
        rows, classes = np.nonzero(chances >= card.score_floor)
        scores = chances[rows, classes]
    else:
        classes = chances.argmax(1)
        scores = chances[rows, classes]
    best = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    best = best[scores[best] >= card.score_floor]
    return Candidates(rows[best], scores[best], classes[best])


def read_answer(answer: Answer, card: Card, fit: Fit, layout: Floats | None) -> DetectorResult:
    """Return what a network found on one picture."""
    raw_boxes = split(answer, card)
    chances = compute_probabilities(raw_boxes, card)
    candidates = _choose(answer, chances, card)
    boxes = map_to_picture(raw_boxes.boxes[candidates.rows], card, fit)
    candidates, boxes = _select_valid(candidates, boxes, len(card.classes))
    kept = suppress(boxes, candidates.scores, candidates.classes, card.suppress_from)
    table = np.concatenate([boxes, candidates.scores[:, None], candidates.classes[:, None]], 1).astype(np.float32)
    embedding = answer["embedding"] if layout is None else layout
    return DetectorResult(table[kept], chances[candidates.rows[kept]], embedding)


def _select_valid(candidates: Candidates, boxes: Floats, classes: int) -> tuple[Candidates, Floats]:
    """Leave out boxes that have an edge which is no number, or a class that the card does not name."""
    is_valid = np.isfinite(boxes).all(1) & (candidates.classes >= 0) & (candidates.classes < classes)
    return Candidates(candidates.rows[is_valid], candidates.scores[is_valid], candidates.classes[is_valid]), boxes[
        is_valid
    ]


def map_to_picture(boxes: Floats, card: Card, fit: Fit) -> Floats:
    """Bring boxes [N, 4] from the card's format and unit to corners in 0..1 of the picture."""
    boxes = to_corners(boxes, card.box_format)
    if card.box_unit == "share":
        if card.fit == "stretch":  # the canvas is the picture
            inside: Floats = np.clip(boxes, 0, 1)
            return inside
        boxes = boxes * np.array(card.size * 2, np.float32)
    return undo(boxes, fit)


def to_corners(boxes: Floats, box_format: str) -> Floats:
    """Return boxes [N, 4] as x1, y1, x2, y2."""
    if box_format == "xyxy":
        return boxes
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)


def suppress(boxes: Floats, scores: Floats, classes: NDArray[Any], covered_from: float) -> NDArray[np.intp]:
    """Return the indices to keep, best first: a box goes when a better one of its class covers it."""
    candidates = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    if covered_from >= 1:
        return candidates[:MAX_DETECTIONS]
    apart = boxes + 2.0 * classes[:, None]  # boxes of different classes cannot meet
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept: list[int] = []
    while candidates.size and len(kept) < MAX_DETECTIONS:
        best, candidates = candidates[0], candidates[1:]
        kept.append(best)
        low, high = (
            np.maximum(apart[best, :2], apart[candidates, :2]),
            np.minimum(apart[best, 2:], apart[candidates, 2:]),
        )
        shared = np.maximum(high - low, 0).prod(1)
        candidates = candidates[shared <= covered_from * np.maximum(area[best] + area[candidates] - shared, 1e-9)]
    return np.array(kept, np.intp)
