"""Embeddings as values: what a network makes of a whole picture, kept as raw float16 so that equal means equal."""

from base64 import b64decode, b64encode

import numpy as np
from numpy.typing import NDArray

LARGEST = 65_504.0  # of a float16
Vector = NDArray[np.float32]  # [D]


def pack(embedding: NDArray[np.floating]) -> bytes:
    """Return an embedding [D] as little-endian float16; what is no number becomes 0."""
    if np.abs(embedding).max(initial=0) <= LARGEST:  # as all are, but for a broken network's
        return embedding.astype("<f2").tobytes()
    finite = np.nan_to_num(np.asarray(embedding, np.float64), nan=0.0, posinf=LARGEST, neginf=-LARGEST)
    return np.clip(finite, -LARGEST, LARGEST).astype("<f2").tobytes()


def unpack(packed: bytes) -> Vector:
    """Return a packed embedding as float32 [D]."""
    return np.frombuffer(packed, "<f2").astype(np.float32)


def as_text(packed: bytes) -> str:
    return b64encode(packed).decode()


def from_text(text: str) -> bytes:
    """Return the packed embedding of a text; raises ValueError where it is none."""
    try:
        packed = b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"an embedding is base64 of float16: {error}") from error
    if len(packed) % 2:
        raise ValueError(f"an embedding is base64 of float16: {len(packed)} bytes are an odd number")
    return packed
