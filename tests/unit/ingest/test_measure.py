"""What a look at a picture tells, and that no bytes break it."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ingest.measure import MAX_SIDE_PX, Measured, Refused, dhash, measure
from ingest.reasons import FileReason

FLAT = Measured(width_px=64, height_px=48, dhash="0" * 16, laplacian_variance=0.0, brightness=0.0)


def encoded(grey: NDArray[np.uint8], format: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(grey).save(content, format)
    return content.getvalue()


def flat(width: int, height: int, value: int = 0, format: str = "PNG") -> bytes:
    return encoded(np.full((height, width), value, np.uint8), format)


def noisy(format: str) -> bytes:
    return encoded(np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8), format)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("value", "brightness"), [pytest.param(0, 0.0, id="black"), pytest.param(255, 1.0, id="white")]
)
def test_a_flat_picture(format: str, value: int, brightness: float) -> None:
    assert measure(flat(64, 48, value, format)) == replace(FLAT, brightness=brightness)


def test_half_dark_half_bright() -> None:
    grey = np.zeros((480, 640), np.uint8)
    grey[:, :320] = 255
    found = measure(encoded(grey))
    assert isinstance(found, Measured)
    assert (found.width_px, found.height_px, found.brightness) == (640, 480, 0.5)
    assert found.laplacian_variance > 0


def test_a_sharp_picture_has_more_variance_than_a_blurred_one() -> None:
    sharp = np.random.default_rng(2).integers(0, 255, (240, 320), dtype=np.uint8)
    blurred = np.asarray(Image.fromarray(sharp).resize((40, 30)).resize((320, 240), Image.Resampling.BICUBIC))
    one, other = measure(encoded(sharp)), measure(encoded(blurred))
    assert isinstance(one, Measured)
    assert isinstance(other, Measured)
    assert one.laplacian_variance > 10 * other.laplacian_variance


@pytest.mark.parametrize(
    ("rows", "bits"),
    [
        pytest.param(range(9), "0" * 16, id="brighter-to-the-right-is-all-zeros"),
        pytest.param(range(8, -1, -1), "f" * 16, id="darker-to-the-right-is-all-ones"),
        pytest.param([5, 4, 5, 4, 5, 4, 5, 4, 5], "aa" * 8, id="up-and-down-alternates"),
        pytest.param([3] * 9, "0" * 16, id="equal-neighbours-are-zeros"),
    ],
)
def test_difference_hash_by_hand(rows: range | list[int], bits: str) -> None:
    assert dhash(np.tile(np.array(rows, np.uint8), (8, 1))) == bits


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", FileReason.NOT_A_PICTURE, id="nothing"),
        pytest.param(b"no picture at all", FileReason.NOT_A_PICTURE, id="text"),
        pytest.param(noisy("GIF"), FileReason.NOT_A_PICTURE, id="a-gif"),
        pytest.param(noisy("BMP"), FileReason.NOT_A_PICTURE, id="a-bitmap"),
        pytest.param(noisy("JPEG")[:-500], FileReason.NOT_A_PICTURE, id="a-truncated-jpeg"),
        pytest.param(noisy("JPEG")[:20], FileReason.NOT_A_PICTURE, id="the-start-of-a-jpeg"),
        pytest.param(noisy("PNG")[:-500], FileReason.NOT_A_PICTURE, id="a-truncated-png"),
        pytest.param(png_header(640, 480), FileReason.NOT_A_PICTURE, id="a-png-that-holds-less-than-it-says"),
        pytest.param(png_header(0, 0), FileReason.NOT_A_PICTURE, id="a-png-without-an-area"),
        pytest.param(png_header(60_000, 60_000), FileReason.TOO_MANY_PIXELS, id="a-decompression-bomb"),
        pytest.param(png_header(8_000, 5_001), FileReason.TOO_MANY_PIXELS, id="a-row-too-many"),
        pytest.param(png_header(12_000, 10_000), FileReason.TOO_MANY_PIXELS, id="a-large-bomb"),
        pytest.param(png_header(MAX_SIDE_PX + 1, 1), FileReason.TOO_MANY_PIXELS, id="too-wide"),
        pytest.param(png_header(1, MAX_SIDE_PX + 1), FileReason.TOO_MANY_PIXELS, id="too-high"),
    ],
)
def test_what_is_refused(content: bytes, reason: FileReason) -> None:
    found = measure(content)
    assert isinstance(found, Refused)
    assert found.reason is reason
    assert " at 0x" not in found.detail


@pytest.mark.parametrize(
    ("width", "height", "format"),
    [
        pytest.param(1, 1, "JPEG", id="one-pixel"),
        pytest.param(640, 1, "JPEG", id="a-line"),
        pytest.param(1, 640, "JPEG", id="a-column"),
        pytest.param(3, MAX_SIDE_PX, "PNG", id="a-column-that-would-grow-to-gigabytes"),
        pytest.param(MAX_SIDE_PX, 3, "PNG", id="a-very-long-line"),
    ],
)
def test_odd_shapes_are_measured(width: int, height: int, format: str) -> None:
    assert measure(flat(width, height, 0, format)) == replace(FLAT, width_px=width, height_px=height)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    content = bytearray(draw(st.sampled_from([noisy("JPEG"), noisy("PNG")])))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=6)):
        content[place % len(content)] = value
    return bytes(content[: draw(st.integers(0, len(content)))])


@settings(max_examples=100, deadline=None)
@given(damaged() | st.binary(max_size=300))
def test_no_bytes_break_it(content: bytes) -> None:
    found = measure(content)
    assert isinstance(found, Refused) or 0 <= found.brightness <= 1
