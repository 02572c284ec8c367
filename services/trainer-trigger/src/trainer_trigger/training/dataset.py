"""A run's dataset: the base set and the labelled frames, under an id made of what is in it."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing
from trainer_trigger.tables.label_table import Label
from trainer_trigger.training.object_cache import ObjectCache

MAX_FRAMES = 20_000  # of one dataset, the newest labels; the rest are history
AT_ONCE = 8


def dataset_id(labels: Sequence[Label], base_set_sha256: str) -> str:
    """Return the sha256 of what is in a dataset, in whatever order it comes."""
    lines = sorted(f"{label.frame_id} {label.label_version} {label.boxes_digest}" for label in labels)
    return hashlib.sha256("\n".join([f"base {base_set_sha256}", *lines]).encode()).hexdigest()


async def collect(labels: Sequence[Label], cache: ObjectCache) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the picture of each frame, and what is wrong with those that cannot be had, by frame id.

    Raises Transient where S3 does not answer.
    """
    at_once = asyncio.Semaphore(AT_ONCE)
    pictures: dict[str, Path] = {}
    missing: dict[str, str] = {}
    unanswered: list[Transient] = []

    async def get(label: Label) -> None:
        async with at_once:
            try:
                pictures[label.frame_id] = await cache.get(label.picture)
            except (ObjectMissing, ObjectChanged) as error:
                missing[label.frame_id] = str(error)
            except Transient as error:
                unanswered.append(error)

    async with asyncio.TaskGroup() as group:
        for label in labels:
            group.create_task(get(label))
    if unanswered:
        raise unanswered[0]
    return pictures, missing


def write(folder: Path, base: Path, labels: Sequence[Label], pictures: dict[str, Path], weight: float) -> None:
    """Write a dataset folder for the trainer: the base set's lines as they are, then a line per label."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "labelled").mkdir(parents=True)
    (folder / "images").symlink_to((base / "images").resolve())
    shutil.copyfile(base / "classes.json", folder / "classes.json")
    lines = [line for line in (base / "train.jsonl").read_text().splitlines() if line.strip()]
    for label in labels:
        picture = pictures[label.frame_id].resolve()
        (folder / "labelled" / picture.name).unlink(missing_ok=True)
        (folder / "labelled" / picture.name).symlink_to(picture)
        lines.append(_line(label, f"labelled/{picture.name}", weight))
    (folder / "train.jsonl").write_text("".join(line + "\n" for line in lines))


def _line(label: Label, image: str, weight: float) -> str:
    boxes = [{"class": b.class_name, "x1": b.x1, "y1": b.y1, "x2": b.x2, "y2": b.y2} for b in label.boxes]
    return json.dumps({"image": image, "boxes": boxes, "weight": weight, "condition": label.condition})
