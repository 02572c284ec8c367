"""JPEGs as cameras send them: rendered drives, enlarged to 1280 x 720, with a sensor's noise."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice

import cv2
import numpy as np

from roadloop_local.addresses import Stack
from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.fields import ObjectRef
from roadloop_world.rendering.drives import render_drive
from roadloop_world.rendering.scenes import Condition

SIZE = 1280, 720
QUALITY = 90
NOISE = 3.0  # standard deviation, of 255
AT_LEAST_BYTES = 100_000
FRAMES_PER_DRIVE = 20


def render(count: int) -> list[bytes]:
    """Return distinct JPEGs of at least 100 KB, the same in every run; useless frames are left out."""
    pictures = [_enlarge(image, number) for number, image in enumerate(islice(_draw_images(), count))]
    if too_small := [len(picture) for picture in pictures if len(picture) < AT_LEAST_BYTES]:
        raise ValueError(f"{len(too_small)} pictures have less than {AT_LEAST_BYTES} bytes, one has {min(too_small)}")
    return pictures


def _draw_images() -> Iterator[np.ndarray]:
    conditions = list(Condition)
    seed = 0
    while True:
        for frame in render_drive(seed, FRAMES_PER_DRIVE, conditions[seed % len(conditions)], useless_share=0.0):
            yield frame.image
        seed += 1


def _enlarge(image: np.ndarray, seed: int) -> bytes:
    large = cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    large += np.random.default_rng(seed).normal(0, NOISE, large.shape).astype(np.float32)
    pixels = np.clip(large, 0, 255).astype(np.uint8)[:, :, ::-1]
    _, encoded = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return encoded.tobytes()


def store(stack: Stack, pictures: Sequence[bytes]) -> Sequence[ObjectRef]:
    """Put pictures where ingest puts them."""
    uploads = open_store(stack.s3_endpoint, *stack.s3_keys("ingest"))

    async def put_all() -> list[ObjectRef]:
        return [
            await uploads.put("uploads", f"bench/{number:05}.jpg", picture, "image/jpeg")
            for number, picture in enumerate(pictures)
        ]

    return asyncio.run(put_all())
