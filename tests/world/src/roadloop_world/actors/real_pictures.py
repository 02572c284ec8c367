"""Real pictures and clips from a folder, as a second fleet would send them."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import cv2

from roadloop_agent import Picture
from roadloop_world.actors.fleet import START

CLIP_FRAMES_PER_S = 2.0
LONGEST_CLIP_FRAMES = 30


def read_pictures(folder: Path) -> Iterator[Picture]:
    """Yield the folder's pictures, then frames of its clips, two a second."""
    moment = START
    for path in sorted(folder.rglob("*.jpg")) + sorted(folder.rglob("*.png")):
        media = "image/png" if path.suffix == ".png" else "image/jpeg"
        moment += timedelta(minutes=1)
        yield Picture(path.read_bytes(), moment, media_type=media)
    for path in sorted(folder.rglob("*.mp4")):
        for number, content in enumerate(_cut_clip(path)):
            yield Picture(content, moment + timedelta(hours=1, seconds=number / CLIP_FRAMES_PER_S), camera=path.stem)


def _cut_clip(path: Path) -> Iterator[bytes]:
    """Cut a clip into JPEG frames, as a vehicle does before it uploads them."""
    clip = cv2.VideoCapture(str(path))
    step = max(1, round(clip.get(cv2.CAP_PROP_FPS) / CLIP_FRAMES_PER_S))
    number = taken = 0
    while taken < LONGEST_CLIP_FRAMES:
        is_read, frame = clip.read()
        if not is_read:
            break
        if number % step == 0:
            taken += 1
            yield cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
        number += 1
    clip.release()


def split_batches(pictures: Sequence[Picture], size: int) -> Iterator[Sequence[Picture]]:
    for start in range(0, len(pictures), size):
        yield pictures[start : start + size]
