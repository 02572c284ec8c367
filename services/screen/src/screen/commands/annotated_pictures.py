"""Write pictures with what a detector sees in them, and the detections as JSON Lines beside them."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np

from roadloop_runtime.cli.terminal import Refused
from roadloop_runtime.gather import gather_bounded
from screen.inference.predict import RefusedByModel
from screen.serving.canvas import BadPicture
from screen.vision.detections import Box
from screen.vision.draw_boxes import draw_on, encode_image

SUFFIXES = (".jpg", ".jpeg", ".png")
LINES = "detections.jsonl"
TOGETHER = 32  # pictures whose lines are written together, in their order
Detect = Callable[[bytes], Awaitable[tuple[Box, ...]]]


@dataclass(frozen=True, slots=True)
class Page:
    """A picture and where its annotated copy goes."""

    name: str  # its place under the folder, with slashes
    source: Path
    target: Path | None


@dataclass(frozen=True, slots=True)
class PageOutcome:
    """What became of a picture: its detections, best first, or why there are none."""

    name: str
    boxes: tuple[Box, ...] = ()
    error: str = ""

    def line(self) -> str:
        if self.error:
            return json.dumps({"picture": self.name, "error": self.error})
        return json.dumps({"picture": self.name, "detections": [asdict(box) for box in self.boxes]})


def plan_pages(source: Path, out: Path | None) -> list[Page]:
    """Return the pictures of a folder and all below it, or the one picture, in order of their names.

    A copy lies under `out` where its picture lies under the folder. Raises Refused where one would replace a picture.
    """
    names = _list_pictures(source, out) if source.is_dir() else [Path(source.name)]
    if not names:
        raise Refused(f"{source} has no picture: files that end with {', '.join(SUFFIXES)} are looked for")
    folder = source if source.is_dir() else source.parent
    pages = [Page(name.as_posix(), folder / name, out / choose_name(name) if out else None) for name in names]
    pictures = {page.source.resolve() for page in pages}
    for page in pages:
        if page.target and page.target.resolve() in pictures:
            raise Refused(f"{page.target} is a picture of {source}: give --out a folder that holds none of them")
    return pages


def _list_pictures(folder: Path, out: Path | None) -> list[Path]:
    paths, skipped = list[Path](), out.resolve() if out else None
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if (Path(here) / name).resolve() != skipped]
        paths += [Path(here) / name for name in files if Path(name).suffix.lower() in SUFFIXES]
    return sorted((path.relative_to(folder) for path in paths), key=Path.as_posix)


def choose_name(name: Path) -> Path:
    """Return a picture's name with an ending that can be written."""
    return name if name.suffix.lower() in SUFFIXES else name.with_name(f"{name.name}.jpg")


async def annotate_all(
    pages: Sequence[Page],
    detect: Detect,
    lines: TextIO,
    *,
    shown_from: float,
    at_once: int,
    tell: Callable[[PageOutcome], None],
) -> int:
    """Annotate every picture, `at_once` of them at a time; return how many could not be. Lines come in order."""
    limit, failed = asyncio.Semaphore(at_once), 0

    async def annotate_page(page: Page) -> PageOutcome:
        outcome = await annotate_one(page, detect, shown_from)
        tell(outcome)
        return outcome

    for start in range(0, len(pages), TOGETHER):
        for outcome in await gather_bounded(annotate_page, pages[start : start + TOGETHER], limit):
            lines.write(outcome.line() + "\n")
            failed += bool(outcome.error)
        lines.flush()
    return failed


async def annotate_one(page: Page, detect: Detect, shown_from: float) -> PageOutcome:
    """Annotate one picture. One that cannot be read or judged is told, and stops nobody else."""
    try:
        picture = await asyncio.to_thread(page.source.read_bytes)
        boxes = await detect(picture)
        if page.target:
            await asyncio.to_thread(write, page.target, picture, boxes, shown_from)
    except (OSError, BadPicture, RefusedByModel) as error:
        return PageOutcome(page.name, error=str(error) or type(error).__name__)
    return PageOutcome(page.name, boxes)


def write(target: Path, picture: bytes, boxes: Sequence[Box], shown_from: float) -> None:
    """Write a picture with its boxes; raise BadPicture where it is none, OSError where it cannot be written."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise BadPicture("the picture is damaged")
    draw_on(image, boxes, shown_from)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(encode_image(image, target.suffix.lower()))
