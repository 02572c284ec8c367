"""Pictures to try a detector on where none are given: a road, a sky and boxes on wheels, in four shapes."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

SIZES = ((1280, 720), (640, 480), (720, 1280), (320, 320))  # width, height in pixels
COLOURS = ((200, 40, 30), (40, 60, 190), (230, 230, 225), (30, 30, 35))  # RGB
SEED = 5
Image = NDArray[np.uint8]  # [H, W, 3], RGB


def draw_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield names and JPEG files, always the same ones."""
    rng = np.random.default_rng(SEED)
    for number, (width, height) in enumerate(SIZES, 1):
        picture = _draw_road(width, height)
        for colour in COLOURS[:number]:
            _draw_vehicle(picture, colour, float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.08, 0.2)))
        grain = rng.normal(0, 4, picture.shape)
        noisy = np.clip(picture + grain, 0, 255).astype(np.uint8)
        yield f"drawn-{number}-{width}x{height}.jpg", cv2.imencode(".jpg", noisy[:, :, ::-1])[1].tobytes()


def _draw_road(width: int, height: int) -> Image:
    picture = np.empty((height, width, 3), np.uint8)
    horizon = height // 2
    picture[:horizon] = np.linspace((110, 160, 220), (200, 220, 240), horizon)[:, None]
    picture[horizon:] = (90, 110, 70)
    road = np.array([(0.48, 0.5), (0.52, 0.5), (0.95, 1.0), (0.05, 1.0)]) * (width, height)
    cv2.fillPoly(picture, [road.astype(np.int32)], (80, 80, 84))
    return picture


def _draw_vehicle(picture: Image, colour: tuple[int, int, int], x: float, size: float) -> None:
    height, width = picture.shape[:2]
    left, wide, tall = round(x * width), round(size * width), round(size * width * 0.6)
    bottom = round(height * (0.55 + size))
    cv2.rectangle(picture, (left, bottom - tall), (left + wide, bottom), colour, -1)
    window = (left + wide // 6, bottom - tall), (left + wide * 5 // 6, bottom - tall // 2)
    cv2.rectangle(picture, *window, (60, 70, 80), -1)
    for wheel in (left + wide // 5, left + wide * 4 // 5):
        cv2.circle(picture, (wheel, bottom), max(2, tall // 5), (20, 20, 20), -1)
