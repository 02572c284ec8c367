"""How sure is it that a candidate is better? Resample the validation set and look how often it is.

Frames of one group (a drive) are drawn together, within their condition, the same draw for both models.
Source: the paired bootstrap, Efron and Tibshirani 1993, chapter 16.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer_trigger.evaluation.average_precision import OVERLAP, Found
from trainer_trigger.training.frame_set import Line

RESAMPLES = 500
Weights = NDArray[np.float64]  # [R, F]: how often each resample drew each frame


@dataclass(frozen=True, slots=True)
class Marks:
    """The detections of one class, best first: on which frame each is, and whether it hits an object."""

    frames: NDArray[np.int64]  # [N]
    hits: NDArray[np.float64]  # [N], 1 or 0


def confidence(
    lines: Sequence[Line],
    serving: Found,
    candidate: Found,
    classes: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> float:
    """Return the share of resampled validation sets, 0..1, on which the candidate's mean over conditions is higher."""
    rng = np.random.default_rng(seed)
    gains: list[NDArray[np.float64]] = []
    for condition in sorted({line.condition for line in lines}):
        frames = [line for line in lines if line.condition == condition]
        if any(line.boxes for line in frames):
            weights = draw([line.group for line in frames], resamples, rng)
            before, after = (_mean(frames, found, classes, weights) for found in (serving, candidate))
            gains.append(after - before)
    return float((np.mean(gains, axis=0) > 0).mean())


def draw(groups: Sequence[str], resamples: int, rng: np.random.Generator) -> Weights:
    """Draw as many groups as there are, with replacement; return how often each frame was drawn."""
    names, group_of = np.unique(groups, return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return np.asarray(counts[:, group_of], float)


def _mean(frames: Sequence[Line], found: Found, classes: Sequence[str], weights: Weights) -> NDArray[np.float64]:
    """Return [R]: the mean average precision of each resample over the classes it has objects of."""
    per_class: list[NDArray[np.float64]] = []
    for index, name in enumerate(classes):
        objects = np.array([sum(box[0] == name for box in line.boxes) for line in frames], float)
        if objects.any():
            totals = weights @ objects
            precision = average_precision(_marks(frames, found, index, name), weights, totals)
            per_class.append(np.where(totals > 0, precision, np.nan))
    stacked = np.stack(per_class)
    seen = ~np.isnan(stacked)
    return np.asarray(np.nansum(stacked, axis=0) / np.maximum(seen.sum(axis=0), 1))


def average_precision(marks: Marks, weights: Weights, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [R]: the area under each resample's precision envelope; `totals` [R] counts its objects."""
    drawn = weights[:, marks.frames]
    hit = drawn * marks.hits
    precision = hit.cumsum(axis=1) / np.maximum(drawn.cumsum(axis=1), 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((envelope * hit).sum(axis=1) / np.maximum(totals, 1))


def _marks(frames: Sequence[Line], found: Found, index: int, name: str) -> Marks:
    marks = [
        (score, number, hit)
        for number, line in enumerate(frames)
        for score, hit in _hits(_of_class(found, line.image, index), [box[1:] for box in line.boxes if box[0] == name])
    ]
    marks.sort(key=lambda mark: -mark[0])
    return Marks(np.array([m[1] for m in marks], np.int64), np.array([m[2] for m in marks], float))


def _of_class(found: Found, image: str, index: int) -> NDArray[np.float64]:
    rows = found.get(image, np.zeros((0, 6)))
    rows = rows[rows[:, 5] == index]
    return np.asarray(rows[np.argsort(-rows[:, 4], kind="stable")])


def _hits(
    rows: NDArray[np.float64], objects: Sequence[tuple[float, float, float, float]]
) -> Iterator[tuple[float, float]]:
    """Yield score and hit of each detection, best first; an object is hit at most once."""
    free = list(objects)
    for row in rows:
        best = max(free, key=lambda box: _overlap(row, box), default=None)
        hit = best is not None and _overlap(row, best) >= OVERLAP
        if hit and best is not None:
            free.remove(best)
        yield float(row[4]), float(hit)


def _overlap(row: NDArray[np.float64], box: tuple[float, float, float, float]) -> float:
    """Return intersection over union."""
    width = max(0.0, min(row[2], box[2]) - max(row[0], box[0]))
    height = max(0.0, min(row[3], box[3]) - max(row[1], box[1]))
    shared = width * height
    both = (row[2] - row[0]) * (row[3] - row[1]) + (box[2] - box[0]) * (box[3] - box[1]) - shared
    return float(shared / both) if both > 0 else 0.0
