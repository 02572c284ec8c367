"""Draw simple shapes in the unit square of a rectangle on a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # [H, W, 3], RGB
Colour = tuple[int, int, int]  # RGB, 0..255
Point = tuple[float, float]  # 0..1 of the spot, y downwards

_SHIFT = 3  # cv2 takes fixed-point coordinates: eighths of a pixel
_SCALE = 1 << _SHIFT


@dataclass(frozen=True, slots=True)
class Spot:
    """A rectangle of a picture, in pixels; shapes are placed in 0..1 of it. Drawing changes `image`."""

    image: Image
    x1: float
    y1: float
    x2: float
    y2: float
    mirrored: bool = False


def polygon(spot: Spot, points: Sequence[Point], colour: Colour) -> None:
    """Fill the polygon through `points`."""
    corners = np.array([_to_fixed(spot, point) for point in points], np.int32)
    cv2.fillConvexPoly(spot.image, corners, colour, cv2.LINE_AA, _SHIFT)


def bar(spot: Spot, corners: tuple[float, float, float, float], colour: Colour) -> None:
    """Fill the upright rectangle `corners` = x1, y1, x2, y2."""
    x1, y1, x2, y2 = corners
    polygon(spot, ((x1, y1), (x2, y1), (x2, y2), (x1, y2)), colour)


def disc(spot: Spot, centre: Point, radius: float, colour: Colour) -> None:
    """Fill a circle; `radius` is in parts of the spot's height."""
    cv2.circle(spot.image, _to_fixed(spot, centre), _to_length(spot, radius), colour, -1, cv2.LINE_AA, _SHIFT)


def ring(spot: Spot, centre: Point, radius: float, colour: Colour) -> None:
    """Draw a circle's rim; `radius` is its outer edge in parts of the spot's height."""
    width_px = _to_line_width(spot, 0.05)
    inner = max(1, _to_length(spot, radius) - width_px * _SCALE // 2)
    cv2.circle(spot.image, _to_fixed(spot, centre), inner, colour, width_px, cv2.LINE_AA, _SHIFT)


def stroke(spot: Spot, line: tuple[Point, Point], colour: Colour, width: float = 0.05) -> None:
    """Draw a straight line; `width` is in parts of the spot's height, at least one pixel."""
    start, end = (_to_fixed(spot, point) for point in line)
    cv2.line(spot.image, start, end, colour, _to_line_width(spot, width), cv2.LINE_AA, _SHIFT)


def shade(colour: Colour, gain: float) -> Colour:
    """Return the colour made darker (`gain` < 1) or lighter (> 1), kept in 0..255."""
    red, green, blue = (min(255, max(0, round(part * gain))) for part in colour)
    return red, green, blue


def _to_fixed(spot: Spot, point: Point) -> tuple[int, int]:
    x = 1.0 - point[0] if spot.mirrored else point[0]
    return (
        round((spot.x1 + x * (spot.x2 - spot.x1)) * _SCALE),
        round((spot.y1 + point[1] * (spot.y2 - spot.y1)) * _SCALE),
    )


def _to_length(spot: Spot, part: float) -> int:
    return max(1, round(part * (spot.y2 - spot.y1) * _SCALE))


def _to_line_width(spot: Spot, part: float) -> int:
    return max(1, round(part * (spot.y2 - spot.y1)))
