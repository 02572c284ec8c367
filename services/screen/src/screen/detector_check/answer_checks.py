"""From what a detector said of many pictures to what is wrong with its card. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from roadloop_schemas.fields import EMBEDDING_DIMENSIONS
from screen.detector_check.answer_summary import AnswerSummary
from screen.detector_check.finding import Finding
from screen.serving.answer import Floats, to_corners
from screen.serving.card import BoxFormat, BoxUnit, Card

SIGMOID_OF_ONE = 0.7311  # a sigmoid of a probability lies between 0.5 and this
FORMATS: tuple[BoxFormat, ...] = ("xyxy", "cxcywh")
UNITS: tuple[BoxUnit, ...] = ("pixel", "share")
SMALLER_EMBEDDING = "export its mean over the picture, or leave it out of tensors"
MARGIN = 0.1  # of the canvas: how far a box at the edge may reach out


def find_symptoms(card: Card, summaries: Sequence[AnswerSummary], synthetic: bool) -> list[Finding]:
    """Say what is wrong; `synthetic` pictures have nothing that a detector must know."""
    if broken := sorted({role for summary in summaries for role in summary.broken}):
        count = sum(bool(summary.broken) for summary in summaries)
        return [_describe_not_finite(broken, count, len(summaries))]
    scores = _check_scores(card, summaries)
    if scores:
        return [scores]
    return [*_check_boxes(card, summaries), *_check_detections(summaries, synthetic), *_check_embedding(summaries)]


def _describe_not_finite(broken: Sequence[str], count: int, of: int) -> Finding:
    return Finding(
        f"{', '.join(broken)}: not a number, or infinite, on {count} of {of} pictures",
        "look at scale, mean and std, and where the network is float16, export it as float32",
    )


def _check_scores(card: Card, summaries: Sequence[AnswerSummary]) -> Finding | None:
    lowest, highest = min(summary.lowest for summary in summaries), max(summary.highest for summary in summaries)
    reach = f"the scores reach from {lowest:.3g} to {highest:.3g}"
    inside = lowest >= 0 and highest <= 1
    if card.activation == "none" and not (lowest >= -0.001 and highest <= 1.001):
        return Finding(f"{reach}: these are no probabilities", 'set "activation": "sigmoid" (or "softmax")')
    if card.activation == "none" and lowest >= 0.5 and highest <= SIGMOID_OF_ONE:
        return Finding(f"{reach}: so a sigmoid of probabilities does", "export it with one sigmoid less")
    if card.activation == "sigmoid" and inside:
        return Finding(f"{reach} before the sigmoid: these are probabilities already", 'set "activation": "none"')
    if card.activation == "softmax" and inside and all(summary.sums_to_one for summary in summaries):
        remedy = f'set "activation": "none" and "no_object": {str(card.no_object).lower()}'
        return Finding(f"{reach} and each row adds up to 1: a softmax is in the graph already", remedy)
    least = min(summary.least for summary in summaries)
    if card.family != "roadloop" and least >= card.score_floor:
        return Finding(
            f"every score is at least {least:.3g}, so every box is of every class",
            "look whether a sigmoid or softmax is missing in the graph, or one too many",
        )
    return None


def _check_boxes(card: Card, summaries: Sequence[AnswerSummary]) -> Iterator[Finding]:
    boxes = np.concatenate([summary.boxes for summary in summaries])
    if not len(boxes):
        return
    if not np.ptp(boxes, axis=0).any() and not boxes.any():
        yield Finding("every box is 0, 0, 0, 0", "name the output with the boxes in the card's tensors")
        return
    if _is_sound(boxes, card):
        return
    readings = [replace(card, box_format=form, box_unit=unit) for form, unit in product(FORMATS, UNITS)]
    fitting = [reading for reading in readings if _is_sound(boxes, reading)]
    first = ", ".join(f"{edge:.4g}" for edge in boxes[0])
    yield Finding(
        f"read as {card.box_format} in {card.box_unit}s, most boxes are not in the picture (the first is {first})",
        f'set "box_format": "{fitting[0].box_format}", "box_unit": "{fitting[0].box_unit}"'
        if fitting
        else "export it with decoded boxes: xyxy or cxcywh, in pixels of the canvas or in 0..1 of it",
    )


def _is_sound(boxes: Floats, card: Card) -> bool:
    """Say whether most boxes have an area and lie on the canvas, and whether their unit is likely."""
    if (card.box_unit == "pixel") != bool(np.abs(boxes).max() > 2):
        return False
    canvas = np.array(card.size * 2, np.float32) if card.box_unit == "pixel" else np.ones(4, np.float32)
    edges = to_corners(boxes, card.box_format) / canvas
    inside = (edges >= -MARGIN).all(1) & (edges <= 1 + MARGIN).all(1) & (edges[:, 2:] > edges[:, :2]).all(1)
    return bool(inside.mean() > 0.5)


def _check_detections(summaries: Sequence[AnswerSummary], synthetic: bool) -> Iterator[Finding]:
    if any(len(summary.result.detections) for summary in summaries):
        return
    best = max(summary.best for summary in summaries)
    yield Finding(
        f"nothing was found on any of {len(summaries)} pictures; the best score is {best:.3g}",
        "give --pictures with objects it knows"
        if synthetic
        else "look at scale, mean, std and colours, and whether score_floor is too high",
        grave=not synthetic,
    )


def _check_embedding(summaries: Sequence[AnswerSummary]) -> Iterator[Finding]:
    if any(summary.result.embedding.ndim != 1 for summary in summaries):
        shape = ["batch", *summaries[0].result.embedding.shape]
        yield Finding(f"the embedding is {shape}, not [batch, D]", SMALLER_EMBEDDING)
    elif (size := max(summary.result.embedding.size for summary in summaries)) > EMBEDDING_DIMENSIONS:
        yield Finding(
            f"the embedding has {size} numbers, and {EMBEDDING_DIMENSIONS} are taken: no frame could be judged",
            SMALLER_EMBEDDING,
        )
