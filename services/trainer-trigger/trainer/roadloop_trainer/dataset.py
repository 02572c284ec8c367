"""Read a dataset folder, and refuse what cannot be trained on."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

INPUT_WIDTH, INPUT_HEIGHT = 256, 160  # pixels
MAX_BOXES = 24  # of one frame; the largest are kept
_HELD_OUT_PART = 10  # one group of so many


class BadDatasetError(ValueError):
    """The dataset cannot be used: says what is wrong, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a split. Boxes are (class index, x1, y1, x2, y2) with corners in 0..1."""

    image: str  # relative to the dataset folder
    boxes: tuple[tuple[int, float, float, float, float], ...]
    weight: float  # how often the frame is seen, relative to the others
    condition: str  # "" where the line has none
    group: str  # frames of one group were taken together: a drive where the line names one, else the frame alone


@dataclass(frozen=True, slots=True)
class Examples:
    """A split in memory, ready to be cut into batches."""

    images: NDArray[np.uint8]  # [N, 160, 256, 3], RGB
    boxes: NDArray[np.float32]  # [N, MAX_BOXES, 4], corners in 0..1
    classes: NDArray[np.int32]  # [N, MAX_BOXES], -1 where there is no box
    weights: NDArray[np.float64]  # [N]


def read_classes(folder: Path) -> list[str]:
    """Read the class names, in the order of their indices."""
    path = folder / "classes.json"
    try:
        names = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadDatasetError(f"{path}: cannot be read ({error}); write a JSON list of class names there") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BadDatasetError(f'{path}: is no list of class names; write for example ["car", "bus"]')
    return names


def read_rows(folder: Path, split: str, classes: list[str]) -> list[Row]:
    """Read a split's lines and check every box."""
    path = folder / f"{split}.jsonl"
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise BadDatasetError(f"{path}: cannot be read ({error.strerror}); write one JSON line per frame") from error
    rows = [_read_row(line, f"{path}:{number}", classes) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise BadDatasetError(f"{path}: has no lines; put at least one labelled frame into the split")
    return rows


def read_examples(folder: Path, rows: list[Row], report: Callable[[int], None] = lambda _: None) -> Examples:
    """Decode all pictures of a split; a picture of another size is stretched. `report` is told how many are read."""
    images = np.empty((len(rows), INPUT_HEIGHT, INPUT_WIDTH, 3), np.uint8)
    for index, row in enumerate(rows):
        images[index] = read_picture(folder, row.image)
        report(index + 1)
    boxes = np.zeros((len(rows), MAX_BOXES, 4), np.float32)
    classes = np.full((len(rows), MAX_BOXES), -1, np.int32)
    for index, row in enumerate(rows):
        largest = sorted(row.boxes, key=lambda box: (box[1] - box[3]) * (box[4] - box[2]))[:MAX_BOXES]
        for place, box in enumerate(largest):
            classes[index, place] = box[0]
            boxes[index, place] = box[1:]
    return Examples(images, boxes, classes, np.array([row.weight for row in rows]))


def hold_out(rows: list[Row], place: Path) -> tuple[list[Row], list[Row]]:
    """Return what is trained on, and the tenth of the groups that a run is measured on; the same rows part alike."""
    held_out = [row for row in rows if _is_held_out(row)]
    training = [row for row in rows if not _is_held_out(row)]
    if not held_out or not training:
        raise BadDatasetError(
            f"{place}: its {len({row.group for row in rows})} groups of frames leave nothing to hold out; "
            "give more drives, or leave --patience out"
        )
    return training, held_out


def _is_held_out(row: Row) -> bool:
    return hashlib.sha256(row.group.encode()).digest()[0] % _HELD_OUT_PART == 0


def read_picture(folder: Path, name: str) -> NDArray[np.uint8]:
    """Return the picture as [160, 256, 3] RGB."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadDatasetError(f"{path}: lies outside the dataset folder; give a path inside it")
    encoded = np.fromfile(path, np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if picture is None:
        raise BadDatasetError(f"{path}: no readable picture; upload it again or take its line out of the split")
    if picture.shape[:2] != (INPUT_HEIGHT, INPUT_WIDTH):
        picture = cv2.resize(picture, (INPUT_WIDTH, INPUT_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture[:, :, ::-1], np.uint8)


def _read_row(line: str, place: str, classes: list[str]) -> Row:
    try:
        fields: dict[str, Any] = json.loads(line)
        boxes = tuple(_read_box(box, place, classes) for box in fields["boxes"])
        weight = float(fields.get("weight", 1.0))
        group = str(fields.get("group") or fields.get("drive") or fields["image"])
        row = Row(str(fields["image"]), boxes, weight, str(fields.get("condition", "")), group)
    except BadDatasetError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadDatasetError(f'{place}: is no frame ({error!r}); write {{"image": ..., "boxes": [...]}}') from error
    if not (math.isfinite(weight) and weight > 0):
        raise BadDatasetError(f"{place}: weight {weight} is not above 0; give 1.0 or leave it out")
    return row


def _read_box(box: dict[str, Any], place: str, classes: list[str]) -> tuple[int, float, float, float, float]:
    if box["class"] not in classes:
        raise BadDatasetError(f"{place}: unknown class {box['class']!r}; add it to classes.json or relabel the box")
    x1, y1, x2, y2 = (float(box[edge]) for edge in ("x1", "y1", "x2", "y2"))
    if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
        raise BadDatasetError(
            f"{place}: box {x1:g}, {y1:g}, {x2:g}, {y2:g} is not inside the picture; give x1 < x2, y1 < y2 in 0..1"
        )
    return classes.index(box["class"]), x1, y1, x2, y2
