"""Look at a picture once: is it one, how large, how sharp, how bright, what does it resemble?"""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ingest.reasons import FileReason

MAX_PIXELS = 40_000_000
MAX_SIDE_PX = 32_768
WIDTH_PX = 320
MAX_HEIGHT_PX = 4 * WIDTH_PX  # a picture 3 wide and 32768 high would grow to 3 GB

Image.MAX_IMAGE_PIXELS = None  # ours is lower, and checked before anything is decoded


@dataclass(frozen=True, slots=True)
class Measured:
    """What a scaled decode tells. `dhash` is 64 bits in hex, `brightness` 0..1."""

    width_px: int
    height_px: int
    dhash: str
    laplacian_variance: float
    brightness: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file is not a frame."""

    reason: FileReason
    detail: str


def measure(content: bytes) -> Measured | Refused:
    """Measure a JPEG or PNG. The header is read first: a decompression bomb is never decoded."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
                rule = f"at most {MAX_PIXELS} are taken, {MAX_SIDE_PX} on a side"
                return Refused(FileReason.TOO_MANY_PIXELS, f"{width} x {height} pixels, {rule}")
            picture.draft("L", _scale_size(width, height))
            grey = np.asarray(picture.convert("L"))
    except UnidentifiedImageError:
        return Refused(FileReason.NOT_A_PICTURE, "neither a JPEG nor a PNG")
    except (OSError, ValueError, SyntaxError) as error:
        return Refused(FileReason.NOT_A_PICTURE, f"not a whole JPEG or PNG: {error}"[:300])
    return _measure(grey, width, height)


def _scale_size(width: int, height: int) -> tuple[int, int]:
    return WIDTH_PX, min(MAX_HEIGHT_PX, max(1, WIDTH_PX * height // width))


def _measure(grey: NDArray[np.uint8], width: int, height: int) -> Measured:
    small = cv2.resize(grey, _scale_size(width, height), interpolation=cv2.INTER_AREA)
    return Measured(
        width_px=width,
        height_px=height,
        dhash=dhash(small),
        laplacian_variance=float(cv2.Laplacian(small, cv2.CV_64F).var()),
        brightness=float(small.mean()) / 255,
    )


def dhash(grey: NDArray[np.uint8]) -> str:
    """Return the difference hash: is each of 8 x 8 cells brighter than its right neighbour?

    Source: Neal Krawetz, "Kind of Like That", 2013.
    """
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = (cells[:, :-1] > cells[:, 1:]).flatten()
    return np.packbits(bits).tobytes().hex()
