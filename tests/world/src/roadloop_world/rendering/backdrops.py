"""Draw what stands behind the road users: sky, skyline, road, walls."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from roadloop_world.rendering.scenes import Condition, Scene
from roadloop_world.rendering.shapes import Colour, Image, Spot, bar, polygon, shade

WIDTH, HEIGHT = 256, 160  # pixels
HORIZON = 62.0  # y in pixels, at the middle column
FOCAL = 150.0  # pixels
CAMERA_HEIGHT_M = 2.0


@dataclass(frozen=True, slots=True)
class Backdrop:
    """How one drive's surroundings look; the same for all its frames."""

    still: Image  # sky and ground
    blocks: tuple[tuple[float, float, float, Colour], ...]  # x, width, height in pixels, colour
    slope: float  # pixels the ground falls per pixel to the right
    condition: Condition


def choose_backdrop(condition: Condition, rng: Generator) -> Backdrop:
    """Choose a drive's surroundings."""
    slope = float(rng.choice((-1, 1)) * rng.uniform(0.10, 0.20)) if condition == Condition.RAMP else 0.0
    blocks = tuple(
        (float(x), float(rng.uniform(14, 44)), float(rng.uniform(6, 40)), _choose_wall_colour(rng))
        for x in range(0, 512, 26)
    )
    return Backdrop(_draw_still(condition, rng), blocks, slope, condition)


def draw_backdrop(backdrop: Backdrop, scene: Scene) -> Image:
    """Return a new picture of the surroundings, [160, 256, 3], before any road user is drawn."""
    image = backdrop.still.copy()
    whole = Spot(image, 0, 0, 1, 1)
    if backdrop.condition in {Condition.CLEAR, Condition.RAIN, Condition.NIGHT, Condition.BACKLIGHT}:
        _draw_blocks(whole, backdrop, scene)
    _draw_road(whole, scene)
    if backdrop.condition == Condition.TUNNEL:
        _draw_tunnel(whole, scene)
    if backdrop.condition == Condition.BRIDGE:
        _draw_girders(whole, scene)
    if backdrop.slope:
        _draw_parapets(whole)
        image = _skew(image, backdrop.slope)
    return image


def _choose_wall_colour(rng: Generator) -> Colour:
    if rng.random() < 0.4:
        return (int(rng.integers(40, 80)), int(rng.integers(90, 140)), int(rng.integers(40, 70)))
    grey = int(rng.integers(90, 190))
    return (grey, max(0, grey - int(rng.integers(0, 30))), max(0, grey - int(rng.integers(0, 40))))


def _draw_still(condition: Condition, rng: Generator) -> Image:
    top = np.array((90, 140, 210), float) * rng.uniform(0.8, 1.15)
    low = np.array((195, 215, 235), float) * rng.uniform(0.85, 1.05)
    ground = np.array((105, 120, 80), float) * rng.uniform(0.8, 1.2)
    if condition == Condition.BRIDGE:
        ground = np.array((60, 100, 135), float) * rng.uniform(0.8, 1.2)
    if condition == Condition.RAMP:
        ground = np.array((150, 145, 138), float) * rng.uniform(0.85, 1.1)
    rows = np.linspace(0, 1, int(HORIZON))[:, None]
    column = np.concatenate([top + (low - top) * rows, np.repeat(ground[None], HEIGHT - int(HORIZON), 0)])
    return np.repeat(column.clip(0, 255).astype(np.uint8)[:, None], WIDTH, 1)


def _draw_blocks(whole: Spot, backdrop: Backdrop, scene: Scene) -> None:
    for x, width, height, colour in backdrop.blocks:
        left = (x - scene.travelled_m * 0.6) % 512 - 60
        if left < WIDTH:
            bar(whole, (left, HORIZON - height, left + width, HORIZON + 2), colour)
            bar(whole, (left + width * 0.3, HORIZON - height * 0.7, left + width * 0.7, HORIZON), shade(colour, 0.75))


def _draw_road(whole: Spot, scene: Scene) -> None:
    middle = WIDTH / 2
    polygon(whole, ((middle - 10, HORIZON), (middle + 10, HORIZON), (WIDTH + 60, HEIGHT), (-60, HEIGHT)), (84, 84, 88))
    for number in range(10):
        ahead_m = 3.2 + number * 5 - scene.travelled_m % 5
        for across_m in (-1.9, 1.9):
            _draw_dash(whole, across_m, max(ahead_m, 2.8))


def _draw_dash(whole: Spot, across_m: float, ahead_m: float) -> None:
    near, far = FOCAL / ahead_m, FOCAL / (ahead_m + 2)
    middle = WIDTH / 2
    polygon(
        whole,
        (
            (middle + (across_m - 0.09) * near, HORIZON + CAMERA_HEIGHT_M * near),
            (middle + (across_m + 0.09) * near, HORIZON + CAMERA_HEIGHT_M * near),
            (middle + (across_m + 0.09) * far, HORIZON + CAMERA_HEIGHT_M * far),
            (middle + (across_m - 0.09) * far, HORIZON + CAMERA_HEIGHT_M * far),
        ),
        (225, 225, 220),
    )


def _draw_tunnel(whole: Spot, scene: Scene) -> None:
    wall: Colour = (120, 112, 100)
    polygon(whole, ((0, 0), (WIDTH, 0), (168, HORIZON - 18), (88, HORIZON - 18)), shade(wall, 0.6))
    polygon(whole, ((0, 0), (88, HORIZON - 18), (88, HORIZON + 4), (0, 128)), wall)
    polygon(whole, ((WIDTH, 0), (168, HORIZON - 18), (168, HORIZON + 4), (WIDTH, 128)), wall)
    bar(whole, (88, HORIZON - 18, 168, HORIZON + 2), (40, 38, 34))
    for number in range(5):
        nearness = 12 / (2 + number * 4 - scene.travelled_m % 4)
        y, half = HORIZON - 16 - 12 * nearness, 4 + 5 * nearness
        for side in (-1, 1):
            x = WIDTH / 2 + side * (22 + 14 * nearness)
            bar(whole, (x - half, y - 1 - nearness, x + half, y + 1), (255, 240, 190))


def _draw_girders(whole: Spot, scene: Scene) -> None:
    steel: Colour = (120, 70, 62)
    for number in range(7):
        nearness = 16 / (3 + number * 6 - scene.travelled_m % 6)
        half, width = 18 + 34 * nearness, 1 + 2.5 * nearness
        for side in (-1, 1):
            x = WIDTH / 2 + side * half
            bar(whole, (x - width, HORIZON - 22 * nearness - 8, x + width, HORIZON + 10 * nearness), steel)
    for side in (-1, 1):
        edge = 0 if side < 0 else WIDTH
        inner = WIDTH / 2 + side * 22
        polygon(whole, ((inner, HORIZON - 11), (inner, HORIZON - 9), (edge, 18), (edge, 8)), steel)
        polygon(whole, ((inner, HORIZON + 1), (inner, HORIZON + 4), (edge, 98), (edge, 82)), shade(steel, 0.8))


def _draw_parapets(whole: Spot) -> None:
    for side in (-1, 1):
        edge = 0 if side < 0 else WIDTH
        inner = WIDTH / 2 + side * 14
        polygon(whole, ((inner, HORIZON - 6), (inner, HORIZON + 2), (edge, 118), (edge, 52)), (176, 172, 164))


@cache
def _make_shear(slope: float) -> NDArray[np.float64]:
    return np.array([[1, 0, 0], [slope, 1, -slope * WIDTH / 2]], np.float64)


def _skew(image: Image, slope: float) -> Image:
    skewed = cv2.warpAffine(image, _make_shear(slope), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(skewed, np.uint8)
