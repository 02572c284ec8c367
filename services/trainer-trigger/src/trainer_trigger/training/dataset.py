"""A run's dataset: the base set and the labelled frames, under an id made of what is in it."""

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing
from roadloop_schemas.fields import ObjectRef
from trainer_trigger.tables.label_table import Label

Fetch = Callable[[ObjectRef], Awaitable[bytes]]
AT_ONCE = 8


def dataset_id(labels: Sequence[Label], base_set_sha256: str) -> str:
    """Return the sha256 of what is in a dataset, in whatever order it comes."""
    lines = sorted(f"{label.frame_id} {label.label_version} {label.boxes_digest}" for label in labels)
    return hashlib.sha256("\n".join([f"base {base_set_sha256}", *lines]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Cache:
    """Objects by their sha256, in a folder."""

    folder: Path
    fetch: Fetch

    async def get(self, reference: ObjectRef) -> Path:
        """Return the file with an object's bytes, fetched and checked once."""
        path = self.folder / reference.sha256[:2] / reference.sha256
        if not _touched(path):
            await asyncio.to_thread(_keep, path, await self.fetch(reference))
        return path

    def forget(self, before: datetime) -> None:
        """Remove objects that were last asked for before a moment."""
        for path in self.folder.glob("*/*"):
            if path.stat().st_mtime < before.timestamp():
                path.unlink()


def _touched(path: Path) -> bool:
    """Say whether a file is there, and note that it is still wanted."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _keep(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; two at once write the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="partial-", delete=False) as partial:
        partial.write(content)
    Path(partial.name).replace(path)


async def collect(labels: Sequence[Label], cache: Cache) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the picture of each frame, and what is wrong with those that cannot be had, by frame id.

    Raises Transient where S3 does not answer.
    """
    seats = asyncio.Semaphore(AT_ONCE)
    pictures: dict[str, Path] = {}
    missing: dict[str, str] = {}
    unanswered: list[Transient] = []

    async def get(label: Label) -> None:
        async with seats:
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
