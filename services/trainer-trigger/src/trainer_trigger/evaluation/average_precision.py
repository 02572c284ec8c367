"""Measure detections against the labels of the validation set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from trainer_trigger.evaluation.gate import Report
from trainer_trigger.training.frame_set import Line

OVERLAP = 0.5
MAX_DETECTIONS = 100  # of one frame
SIDE = 1000.0  # the evaluator wants pixels; overlap does not depend on how many
Found = Mapping[str, NDArray[np.float64]]  # image -> [N, 6]: x1, y1, x2, y2 in 0..1, score, class index


def report(lines: Sequence[Line], found: Found, classes: Sequence[str]) -> Report:
    """Return mAP at overlap 0.5 per condition; a condition without any object has no figure."""
    scores: dict[str, float] = {}
    for condition in sorted({line.condition for line in lines}):
        score = mean_average_precision([line for line in lines if line.condition == condition], found, classes)
        if score is not None:
            scores[condition] = score
    return Report(scores)


def mean_average_precision(lines: Sequence[Line], found: Found, classes: Sequence[str]) -> float | None:
    """Return the mean over the classes that occur in the labels; None where none does."""
    if not any(line.boxes for line in lines):
        return None
    truth = COCO(_truth(lines, classes))
    guesses = truth.loadRes(_guesses(lines, found))
    evaluation = COCOeval_faster(truth, guesses, "bbox")
    evaluation.params.iouThrs = np.array([OVERLAP])
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    per_class = evaluation.eval["precision"][0, :, :, 0, 0].mean(axis=0)  # 101 recalls; -1 where a class is absent
    return float(per_class[per_class >= 0].mean())


def read_found(path: Path) -> Found:
    """Read what the trainer's `predict` wrote: a line of detections per frame."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return {line["image"]: np.array(line["detections"], float).reshape(-1, 6) for line in lines}


def _truth(lines: Sequence[Line], classes: Sequence[str]) -> dict[str, Any]:
    boxes = [(number, box) for number, line in enumerate(lines, 1) for box in line.boxes]
    return {
        "info": {},
        "images": [{"id": number} for number in range(1, len(lines) + 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": classes.index(name) + 1,
                "bbox": _pixels(*corners),
                "area": (corners[2] - corners[0]) * (corners[3] - corners[1]) * SIDE * SIDE,
                "iscrowd": 0,
            }
            for number, (image, (name, *corners)) in enumerate(boxes, 1)
        ],
    }


def _guesses(lines: Sequence[Line], found: Found) -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": int(row[5]) + 1, "bbox": _pixels(*row[:4]), "score": float(row[4])}
        for number, line in enumerate(lines, 1)
        for row in found.get(line.image, ())
    ]


def _pixels(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    """Return x, y, width, height."""
    return [float(x1) * SIDE, float(y1) * SIDE, float(x2 - x1) * SIDE, float(y2 - y1) * SIDE]
