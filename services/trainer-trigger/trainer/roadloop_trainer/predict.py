"""Run an exported detector over a split."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from roadloop_trainer.dataset import BadDatasetError, read_classes, read_picture, read_rows

Rows = NDArray[np.float32]  # [N, 6]: x1, y1, x2, y2 in 0..1, score, class index
FAMILY = "roadloop"
_BATCH = 16
_SAME = 0.5  # intersection over union from which two boxes of a class are one object


def predict(model: Path, dataset: Path, split: str, out: Path) -> int:
    """Write one line of detections per frame of the split; return the number of frames."""
    card = json.loads((model / "detector.json").read_text())
    if card["family"] != FAMILY:
        raise BadDatasetError(
            f"{model}: a detector of the family {card['family']}; this trainer runs those of the family {FAMILY}: "
            "give ROADLOOP_TRAINER_PATH a trainer that runs it"
        )
    rows = read_rows(dataset, split, read_classes(dataset))
    detections_of_frames = _detect(model / "model.onnx", dataset, [row.image for row in rows])
    with out.open(
        "w", buffering=1
    ) as lines:  # it grows as it goes: that is how its watcher knows it from one that hangs
        for row, detections in zip(rows, detections_of_frames, strict=True):
            kept = suppress(detections[detections[:, 4] >= card["score_floor"]])
            lines.write(json.dumps({"image": row.image, "detections": [_round(line) for line in kept]}) + "\n")
    return len(rows)


def suppress(rows: Rows) -> Rows:
    """Drop each box that covers a better one of its class; the rest come best first."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    kept: list[int] = []
    for index in range(len(rows)):
        same = [other for other in kept if rows[other, 5] == rows[index, 5]]
        if not same or compute_overlaps(rows[index, :4], rows[same, :4]).max() <= _SAME:
            kept.append(index)
    return rows[kept]


def compute_overlaps(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return intersection over union of one box [4] with each of `boxes` [N, 4]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.maximum(high - low, 0).prod(1)
    both = np.prod(box[2:] - box[:2]) + (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return shared / np.maximum(both - shared, 1e-9)


def _detect(graph: Path, dataset: Path, names: list[str]) -> Iterator[Rows]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    for start in range(0, len(names), _BATCH):
        images = np.stack([read_picture(dataset, name) for name in names[start : start + _BATCH]])
        (detections,) = session.run(["detections"], {"images": images})
        yield from detections


def _round(row: Rows) -> list[float]:
    return [round(float(number), 5) for number in row[:5]] + [int(row[5])]
