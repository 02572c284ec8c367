"""Score detections against labels: mean average precision at an overlap of 0.5, per condition."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadloop_trainer.dataset import Row, read_classes, read_rows
from roadloop_trainer.predict import compute_overlaps

_MATCH = 0.5
_RECALLS = np.linspace(0, 1, 101)


def score(dataset: Path, split: str, predictions: Path) -> dict[str, float]:
    """Return the mean average precision (0..1) per condition, and their mean under "mean"."""
    classes = read_classes(dataset)
    rows = read_rows(dataset, split, classes)
    lines = (json.loads(line) for line in predictions.read_text().splitlines())
    detections = {line["image"]: np.array(line["detections"], float).reshape(-1, 6) for line in lines}
    conditions = sorted({row.condition for row in rows})
    scores = {
        name: _average_over_classes([row for row in rows if row.condition == name], detections, len(classes))
        for name in conditions
    }
    return {**scores, "mean": float(np.mean(list(scores.values())))}


def _average_over_classes(rows: list[Row], detections: dict[str, NDArray[np.float64]], classes: int) -> float:
    """Average over the classes that the labels have."""
    labelled_classes = {box[0] for row in rows for box in row.boxes}
    indices = [index for index in range(classes) if index in labelled_classes]
    return float(np.mean([_compute_average_precision(rows, detections, index) for index in indices]))


def _compute_average_precision(rows: list[Row], detections: dict[str, NDArray[np.float64]], class_index: int) -> float:
    marks: list[tuple[float, bool]] = []
    labelled = 0
    for row in rows:
        truth = np.array([box[1:] for box in row.boxes if box[0] == class_index]).reshape(-1, 4)
        guesses = detections[row.image][detections[row.image][:, 5] == class_index]
        labelled += len(truth)
        marks.extend(_mark_guesses(guesses, truth))
    hits = np.array([hit for _, hit in sorted(marks, key=lambda mark: -mark[0])], float).cumsum()
    precision = hits / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / labelled, _RECALLS)
    return float(np.append(best_from_here, 0.0)[np.minimum(places, len(hits))].mean())


def _mark_guesses(guesses: NDArray[np.float64], truth: NDArray[np.float64]) -> Iterable[tuple[float, bool]]:
    """Yield score and hit or miss of each guess; a labelled box is hit at most once."""
    free = np.ones(len(truth), bool)
    for guess in guesses[np.argsort(-guesses[:, 4])]:
        free_overlaps = compute_overlaps(guess[:4], truth) * free if len(truth) else np.zeros(1)
        hit = bool(free_overlaps.max() >= _MATCH)
        if hit:
            free[int(free_overlaps.argmax())] = False
        yield float(guess[4]), hit
