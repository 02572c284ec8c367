"""Base and validation sets: zip files with `classes.json`, a split's lines, and pictures in `images/`."""

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_trigger.reasons import SetReason
from trainer_trigger.refusals import BadSet

MAX_ZIP_BYTES = 512 * 1024 * 1024
MAX_UNPACKED_BYTES = 2 * 1024 * 1024 * 1024
MAX_ENTRIES = 200_000


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled frame of a split. Boxes are (class name, x1, y1, x2, y2), corners in 0..1."""

    image: str
    boxes: tuple[tuple[str, float, float, float, float], ...]
    condition: str
    group: str  # frames of one group were taken together: a drive where the line names one, else the frame alone


@dataclass(frozen=True, slots=True)
class FrameSet:
    """A split as its files say it."""

    classes: tuple[str, ...]
    lines: tuple[Line, ...]
    pictures: frozenset[str]  # sha256


def inspect(content: bytes, split: str) -> FrameSet:
    """Read and check a whole zip without writing a file; raises BadSet."""
    with _reading(content) as archive:
        names = {item.filename for item in archive.infolist()}
        for name in ("classes.json", f"{split}.jsonl"):
            if name not in names:
                reason = SetReason.NO_CLASSES if name == "classes.json" else SetReason.NO_LINES
                raise BadSet(reason, f"{name} is not in the zip; put it at the top, not in a folder")
        classes = _classes(archive.read("classes.json"))
        lines = parse_lines(archive.read(f"{split}.jsonl").decode(errors="replace"), split, classes)
        for number, line in enumerate(lines, 1):
            if line.image not in names:
                raise BadSet(SetReason.NO_PICTURE, f"{split}.jsonl:{number}: {line.image} is not in the zip; add it")
        digests = (hashlib.sha256(archive.read(line.image)).hexdigest() for line in lines)
        return FrameSet(classes, lines, frozenset(digests))


def unpack(zipped: Path, folder: Path) -> None:
    """Unpack a set into a folder, all of it or nothing; a folder that is there is kept."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=folder.parent))
    try:
        with _reading(zipped.read_bytes()) as archive:
            archive.extractall(partial)
        os.rename(partial, folder)  # noqa: PTH104 raises where another process was first
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_classes(folder: Path) -> tuple[str, ...]:
    return _classes((folder / "classes.json").read_bytes())


def parse_lines(text: str, split: str, classes: tuple[str, ...]) -> tuple[Line, ...]:
    """Read a split's lines; raises BadSet."""
    lines = tuple(
        _line(line, f"{split}.jsonl:{number}", classes)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    )
    if not lines:
        raise BadSet(SetReason.NO_LINES, f"{split}.jsonl has no lines; put at least one labelled frame into it")
    return lines


@contextmanager
def _reading(content: bytes) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what is broken, encrypted or larger than announced inside is a BadSet too."""
    try:
        with _opened(content) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise BadSet(SetReason.NO_ZIP, f"the zip cannot be read ({error}); zip the dataset folder anew") from error


def _opened(content: bytes) -> zipfile.ZipFile:
    """Open a zip whose names stay inside and whose announced sizes are bearable; reading checks the sizes."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise BadSet(SetReason.NO_ZIP, f"the object is no zip file ({error}); zip the dataset folder") from error
    items = archive.infolist()
    size = sum(item.file_size for item in items)
    if len(items) > MAX_ENTRIES or size > MAX_UNPACKED_BYTES:
        limits = f"at most {MAX_ENTRIES} and {MAX_UNPACKED_BYTES} are allowed"
        raise BadSet(SetReason.TOO_LARGE, f"the zip has {len(items)} files with {size} bytes; {limits}")
    for item in items:
        path = Path(item.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in item.filename:
            raise BadSet(SetReason.FOREIGN_PATH, f"{item.filename!r} leads out of the set; use relative names")
    return archive


def _classes(content: bytes) -> tuple[str, ...]:
    try:
        names = json.loads(content)
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BadSet(SetReason.NO_CLASSES, 'classes.json is no list of names; write for example ["car", "bus"]')
    return tuple(names)


def _line(text: str, place: str, classes: tuple[str, ...]) -> Line:
    try:
        fields: Mapping[str, Any] = json.loads(text)
        image = str(fields["image"])
        boxes = tuple(_box(box) for box in fields["boxes"])
        condition = str(fields.get("condition") or Path(image).name.partition("-")[0])
        group = str(fields.get("group") or fields.get("drive") or image)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = 'write {"image": ..., "boxes": [...]}'
        raise BadSet(SetReason.BAD_LINE, f"{place} is no labelled frame ({error!r}); {wanted}") from error
    for name, x1, y1, x2, y2 in boxes:
        if name not in classes:
            raise BadSet(
                SetReason.BAD_LINE, f"{place}: class {name!r} is not in classes.json; add it or relabel the box"
            )
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            raise BadSet(SetReason.BAD_LINE, f"{place}: box {x1:g}, {y1:g}, {x2:g}, {y2:g} is not in 0..1 with an area")
    return Line(image, boxes, condition, group)


def _box(box: Mapping[str, Any]) -> tuple[str, float, float, float, float]:
    return str(box["class"]), float(box["x1"]), float(box["y1"]), float(box["x2"]), float(box["y2"])
