"""Change a drawn picture as light, weather and a bad camera change it."""

from functools import cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from roadloop_world.rendering.scenes import Condition, Useless
from roadloop_world.rendering.shapes import Image

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels


def add_weather(image: Image, condition: Condition, light: float, lamps: list[Box], rng: Generator) -> Image:
    """Return the picture under `condition`; `light` in 0..1 is the drive's own, `lamps` are vehicles with lights on."""
    if condition == Condition.BACKLIGHT:
        return _add_backlight(image, light)
    if condition == Condition.TUNNEL:
        return _add_lamp_light(image, light)
    if condition == Condition.BRIDGE:
        return _add_haze(image, light)
    if condition == Condition.RAIN:
        return _add_rain(image, light, rng)
    if condition == Condition.NIGHT:
        return _darken(image, light, lamps)
    return _adjust_levels(image, (0.88 + 0.24 * light,) * 3, 0)


def add_noise(image: Image, sigma: float, rng: Generator) -> Image:
    """Add sensor noise of about `sigma` grey levels."""
    top, left = (int(offset) for offset in rng.integers(0, 64, 2))
    tile = _make_noise_tile(round(sigma))[top : top + image.shape[0], left : left + image.shape[1]]
    return _to_picture(cv2.add(image, tile, dtype=cv2.CV_8U))


def spoil(image: Image, fault: Useless, rng: Generator) -> Image:
    """Return a picture nobody can label: smeared, blinded or black."""
    if fault == "blur":
        length = int(rng.integers(21, 33))
        return _to_picture(cv2.blur(image, (length, length // 2)))
    if fault == "glare":
        return _adjust_levels(cv2.GaussianBlur(image, (31, 31), 12), (0.15, 0.15, 0.14), 212)
    return _adjust_levels(image, (0.02, 0.02, 0.02), 3)


def _adjust_levels(image: NDArray[np.uint8], gains: tuple[float, ...], lift: float) -> Image:
    table = np.arange(256)[:, None] * np.array(gains) + lift
    return _to_picture(cv2.LUT(image, table.clip(0, 255).astype(np.uint8)[None]))


def _add_backlight(image: Image, light: float) -> Image:
    height, width = image.shape[:2]
    dark = _adjust_levels(image, (0.36, 0.32, 0.30), 8)
    sun = _make_glow(width, height, round(width * (0.2 + 0.6 * light)), 40)
    return _to_picture(cv2.add(dark, cv2.merge([sun, cv2.multiply(sun, 0.88), cv2.multiply(sun, 0.66)])))


def _add_lamp_light(image: Image, light: float) -> Image:
    return _adjust_levels(image, (0.62 + 0.12 * light, 0.46 + 0.1 * light, 0.24), 6)


def _add_haze(image: Image, light: float) -> Image:
    haze = np.full_like(image, (176, 190, 206))
    shadowed = cv2.multiply(image, _make_stripes(image.shape[1], image.shape[0]), scale=1 / 255)
    return _to_picture(cv2.addWeighted(shadowed, 0.80 - 0.2 * light, haze, 0.20 + 0.2 * light, 0))


def _add_rain(image: Image, light: float, rng: Generator) -> Image:
    height, width = image.shape[:2]
    grey = cv2.addWeighted(image, 0.55, np.full_like(image, (122, 126, 132)), 0.36 - 0.1 * light, 0)
    soft = cv2.GaussianBlur(grey, (3, 3), 0)
    for x, y, length in rng.integers((0, 0, 6), (width, height, 16), (70, 3)).tolist():
        cv2.line(soft, (x, y), (x - length // 4, y + length), (178, 182, 188), 1)
    for x, y, radius in rng.integers((0, 0, 5), (width, height, 11), (9, 3)).tolist():
        drop = soft[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius]
        drop[:] = cv2.blur(drop, (9, 9))
    return _to_picture(soft)


def _darken(image: Image, light: float, lamps: list[Box]) -> Image:
    height, width = image.shape[:2]
    cone = cv2.multiply(image, _make_headlights(width, height), scale=(0.55 + 0.35 * light) / 255)
    night = _adjust_levels(cone, (0.74, 0.76, 0.92), 4)
    for x1, y1, x2, y2 in lamps:
        radius = max(2, round((x2 - x1) * 0.11))
        for x in (x1 + 0.13 * (x2 - x1), x2 - 0.13 * (x2 - x1)):
            _add_glow(night, round(x), round(y1 + 0.6 * (y2 - y1)), radius)
    return night


def _add_glow(image: Image, x: int, y: int, radius: int) -> None:
    height, width = image.shape[:2]
    left, right, top, bottom = (
        max(0, x - 2 * radius),
        min(width, x + 2 * radius),
        max(0, y - 2 * radius),
        y + 2 * radius,
    )
    spot = image[top : min(bottom, height), left:right]
    if spot.size:
        spot[:] = cv2.add(spot, np.full_like(spot, (70, 52, 40)))
        cv2.circle(image, (x, y), radius, (255, 226, 190), -1, cv2.LINE_AA)


@cache
def _make_noise_tile(sigma: int) -> NDArray[np.int16]:
    return np.random.default_rng(11).normal(0, sigma, (224, 320, 3)).astype(np.int16)


@cache
def _make_glow(width: int, height: int, x: int, y: int) -> Image:
    rows, columns = np.ogrid[:height, :width]
    distance = np.sqrt((columns - x) ** 2 + (rows - y) ** 2)
    return _to_picture((255 * np.exp(-distance / 48) + 44 * np.exp(-distance / 220)).clip(0, 255))


@cache
def _make_headlights(width: int, height: int) -> Image:
    rows, columns = np.ogrid[:height, :width]
    cone = np.exp(-(((columns - width / 2) / 62) ** 2) - ((rows - 108) / 46) ** 2)
    return np.repeat((255 * (0.36 + 0.64 * cone)).astype(np.uint8)[:, :, None], 3, 2)


@cache
def _make_stripes(width: int, height: int) -> Image:
    rows, columns = np.ogrid[:height, :width]
    shadow = ((columns + 2 * rows) % 44 < 14) & (rows > 66)
    return np.repeat(np.where(shadow, 150, 255).astype(np.uint8)[:, :, None], 3, 2)


def _to_picture(array: object) -> Image:
    return np.asarray(array, np.uint8)
