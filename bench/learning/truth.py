"""What a model got wrong in a frame, and whether anyone could have told: from the renderer's exact truth. Pure.

Boxes are rows: x1, y1, x2, y2 in 0..1 of the picture, then (score,) class index.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learning.configuration import Meaning

Rows = NDArray[np.float32]


class Errors(NamedTuple):
    """How many errors of each type a frame holds; `silent` of the misses were seen by neither model."""

    missed: int
    ghosts: int
    swapped: int
    silent: int

    @property
    def total(self) -> int:
        return self.missed + self.ghosts + self.swapped


def overlaps(ones: Rows, others: Rows) -> NDArray[np.float64]:
    """Return the intersections over union of boxes [n, >= 4] with boxes [m, >= 4], as [n, m]."""
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:4], others[None, :, 2:4])
    shared = np.maximum(high - low, 0).prod(2).astype(float)
    areas = [(boxes[:, 2:4] - boxes[:, :2]).prod(1).astype(float) for boxes in (ones, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float64)


def errors(ours: Rows, theirs: Rows, truth: Rows, unlabelable: Rows, asked: Meaning) -> Errors:
    """Count a frame's errors at the serving threshold.

    Best score first, each detection takes the free object of its own class that it overlaps most; of what is left, a
    detection on an object of another class is one swap. A detection on something that cannot be labelled is no error.
    """
    told = ours[ours[:, 4] >= asked.serving_threshold]
    told = told[np.argsort(-told[:, 4], kind="stable")]
    overlap = overlaps(told, truth)
    same = told[:, 5][:, None] == truth[:, 4][None]
    taken = _paired(np.where(same, overlap, 0.0), asked.overlap)
    left = np.setdiff1d(np.arange(len(told)), list(taken))
    free = np.setdiff1d(np.arange(len(truth)), list(taken.values()))
    swapped = _paired(overlap[np.ix_(left, free)], asked.overlap)
    lonely = np.delete(left, list(swapped))
    missed = np.delete(free, list(swapped.values()))
    ghosts = _off(told[lonely], unlabelable, asked.overlap)
    candidates = np.concatenate([boxes[boxes[:, 4] >= asked.silent_floor] for boxes in (ours, theirs)])
    silent = _off(truth[missed], candidates, asked.silent_overlap)
    return Errors(len(missed), int(ghosts.sum()), len(swapped), int(silent.sum()))


def _paired(overlap: NDArray[np.float64], at_least: float) -> dict[int, int]:
    """Return which column each row takes: rows in order, each the best that is free."""
    taken: dict[int, int] = {}
    overlap = overlap.copy()
    for row in range(len(overlap)):
        if overlap.shape[1] and overlap[row].max() >= at_least:
            taken[row] = int(overlap[row].argmax())
            overlap[:, taken[row]] = 0.0
    return taken


def _off(boxes: Rows, others: Rows, at_least: float) -> NDArray[np.bool_]:
    """Say of each box whether it overlaps none of the others by that much."""
    return np.asarray((overlaps(boxes, others) < at_least).all(1), np.bool_)
