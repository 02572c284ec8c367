"""From a picture file to a network's input, and from its canvas back to the picture."""

import struct
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .card import Card

MAX_PIXELS = 40_000_000
LAYOUT_LENGTH = 112
Picture = NDArray[np.uint8]  # [H, W, 3], RGB
_GRID, _SMALL = 4, 32  # cells and pixels along each side of what a picture's layout is taken from


class BadPicture(ValueError):
    """The bytes are no picture this server judges; sending them again will not help."""


class Fit(NamedTuple):
    """How a picture was put on the network's canvas: canvas = picture x scale + offset, in pixels."""

    picture: tuple[int, int]  # width, height
    scale: tuple[float, float]
    offset: tuple[float, float]


class Prepared(NamedTuple):
    """A picture as the network is given it."""

    pixels: NDArray[np.generic]  # [H, W, 3] or [3, H, W], as its card says
    fit: Fit
    layout: NDArray[np.float32] | None  # [112], where the network has no embedding of its own


def read_picture_size(encoded: bytes) -> tuple[int, int]:
    """Return width and height from a JPEG's or PNG's header, without decoding it."""
    if encoded[:8] == b"\x89PNG\r\n\x1a\n" and len(encoded) >= 24:
        width, height = struct.unpack(">II", encoded[16:24])
        return width, height
    if encoded[:2] != b"\xff\xd8":
        raise BadPicture("neither JPEG nor PNG")
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker, length = encoded[place + 1], struct.unpack(">H", encoded[place + 2 : place + 4])[0]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", encoded[place + 5 : place + 9])
            return width, height
        place += 2 + length
    raise BadPicture("a JPEG without a size")


def decode(encoded: bytes, size: tuple[int, int]) -> Picture:
    """Return the picture; scaled down by 2 or 4 where that still is all that a canvas of `size` needs."""
    width, height = read_picture_size(encoded)
    if not 0 < width * height <= MAX_PIXELS:
        raise BadPicture(f"{width} x {height} pixels; at most {MAX_PIXELS} are allowed")
    spare_scale = min(width, height) / max(size)
    read_flag = cv2.IMREAD_COLOR
    for factor, reduced in ((2, cv2.IMREAD_REDUCED_COLOR_2), (4, cv2.IMREAD_REDUCED_COLOR_4)):
        read_flag = reduced if spare_scale >= factor else read_flag
    try:
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), read_flag)
    except cv2.error:
        picture = None
    if picture is None:
        raise BadPicture("the picture is damaged")
    rgb: Picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # a view turned round would cost each resize twice its time
    return rgb


def stretch(picture: Picture, size: tuple[int, int]) -> tuple[Picture, Fit]:
    """Fill the canvas of `size` = width, height, whatever the picture's shape."""
    height, width = picture.shape[:2]
    if (width, height) != size:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return picture, Fit((width, height), (size[0] / width, size[1] / height), (0.0, 0.0))


def letterbox(picture: Picture, size: tuple[int, int], pad: int) -> tuple[Picture, Fit]:
    """Put the picture in the middle of a canvas of `size` = width, height and one grey, keeping its shape."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas = np.full((size[1], size[0], 3), pad, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas, Fit((width, height), (inner[0] / width, inner[1] / height), (left, top))


def prepare(picture: Picture, card: Card) -> Prepared:
    """Put a picture on the card's canvas, in its colours, scale, layout and number type."""
    canvas, fit = stretch(picture, card.size) if card.fit == "stretch" else letterbox(picture, card.size, card.pad)
    layout = None if "embedding" in card.tensors else describe_layout(picture)
    pixels: NDArray[np.generic] = canvas[:, :, ::-1] if card.colours == "bgr" else canvas
    if card.dtype != "uint8":
        pixels = _scale(pixels.astype(np.float32), card).astype(card.dtype)
    return Prepared(pixels.transpose(2, 0, 1) if card.layout == "nchw" else pixels, fit, layout)


def _scale(pixels: NDArray[np.float32], card: Card) -> NDArray[np.float32]:
    factor = card.scale / np.array(card.std, np.float64)
    shift = np.array(card.mean, np.float64) / np.array(card.std, np.float64)
    if (factor == 1).all() and (shift == 0).all():
        return pixels
    width = pixels.shape[1]  # along rows, for three numbers at a time is slow
    rows = pixels.reshape(len(pixels), -1)
    rows = rows * np.tile(factor.astype(np.float32), width) - np.tile(shift.astype(np.float32), width)
    return rows.reshape(pixels.shape)


def undo(boxes: NDArray[np.float32], fit: Fit) -> NDArray[np.float32]:
    """Bring boxes [N, 4] from canvas pixels to 0..1 of the picture, cut at its edge."""
    offset, scale, size = (np.array(pair * 2, np.float32) for pair in (fit.offset, fit.scale, fit.picture))
    inside: NDArray[np.float32] = np.clip((boxes - offset) / scale / size, 0, 1)
    return inside


def describe_layout(picture: Picture) -> NDArray[np.float32]:
    """Describe a picture [112] by where its colours and edges are, in a grid of 4 x 4.

    First the mean red, green and blue of each cell, 0..1; then each cell's mean strength of edges in four directions.
    Like pictures lie near each other, whatever is in them: less than a network's embedding, and always there.
    """
    small = cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    grey = small.mean(2)
    down, right = np.gradient(grey)
    strength, direction = np.hypot(right, down), (np.arctan2(down, right) / np.pi * 4).round() % 4
    edges = [strength * (direction == turn) for turn in range(4)]
    cells = np.stack([*np.moveaxis(small, 2, 0), *edges]).reshape(7, _GRID, _SMALL // _GRID, _GRID, _SMALL // _GRID)
    layout: NDArray[np.float32] = cells.mean((2, 4)).astype(np.float32).ravel()
    return layout
