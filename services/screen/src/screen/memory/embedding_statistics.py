"""What pictures of a tenant, or of a slice, usually look like, so that what is unusual can be told. Pure.

Embeddings of roads are alike: two unrelated ones have a cosine of 0.96. What tells them apart is what is left when the
usual is taken away: minus the running mean, over the running deviation, per dimension ("whitened" from here on).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from screen.vision.embedding import Vector, unpack

KNOWN_AFTER = 50
SLOWEST = 1 / 5_000  # what is usual changes with the season
FIXED_AFTER = 1_500
ANCHORED = 1 / 100_000
LEAST_DEVIATION = 0.05  # of the median one: what hardly ever varies says nothing
FARTHEST = 20.0


@dataclass(frozen=True, slots=True)
class Scenery:
    """Running mean and variance of the embeddings that one network, the `eye`, makes; raw float32 [2, D]."""

    eye: str = ""
    seen: int = 0
    moments: bytes = b""

    def of(self, eye: str, dimensions: int) -> "Scenery":
        """Return this where it is of that network, else a new one: what networks make cannot be compared."""
        fits = self.eye == eye and len(self.moments) == 8 * dimensions
        return self if fits else Scenery(eye, 0, np.zeros((2, dimensions), np.float32).tobytes())

    @property
    def mean_and_variance(self) -> NDArray[np.float32]:
        return np.frombuffer(self.moments, "<f4").reshape(2, -1)


NOTHING_SCENIC = Scenery()


def add_picture(scenery: Scenery, eye: str, packed: bytes, *, anchored: bool = False) -> Scenery:
    """Return what is usual after one more picture (exponentially weighted, West 1979).

    What is `anchored` stays where its first 1,500 pictures have put it, but for what changes over months.
    """
    vector = unpack(packed)
    scenery = scenery.of(eye, len(vector))
    is_fixed = anchored and scenery.seen >= FIXED_AFTER
    share = np.float32(ANCHORED if is_fixed else max(1 / (scenery.seen + 1), SLOWEST))
    mean, variance = scenery.mean_and_variance
    difference = vector - mean
    moments = (mean + share * difference).tobytes() + (
        (1 - share) * (variance + share * difference * difference)
    ).tobytes()
    return Scenery(eye, scenery.seen + 1, moments)


class Usual(NamedTuple):
    """What pictures usually look like to a network: mean and deviation per dimension, float32 [D].

    What hardly ever varies has a least deviation.
    """

    mean: Vector
    deviation: Vector


def usual_of(scenery: Scenery, eye: str, dimensions: int) -> Usual | None:
    """Return what is usual; None while nothing is known of this network's pictures."""
    if scenery.eye != eye or scenery.seen < KNOWN_AFTER or len(scenery.moments) != 8 * dimensions or not dimensions:
        return None
    mean, variance = scenery.mean_and_variance
    deviation = np.sqrt(variance)
    least: Vector = np.maximum(deviation, max(LEAST_DEVIATION * _median(deviation), 1e-6))
    return Usual(mean, least)


def _median(values: Vector) -> float:
    """Return the median of a vector, which `numpy.median` takes several times as long for."""
    middle = (len(values) - 1) // 2
    lower, upper = np.partition(values, (middle, len(values) // 2))[[middle, len(values) // 2]]
    return float((lower + upper) / 2)


def whiten(usual: Usual, vector: Vector) -> Vector:
    """Return z-scores [D] or [N, D], float32, -20 to 20."""
    z: Vector = np.minimum(np.maximum((vector - usual.mean) / usual.deviation, -FARTHEST), FARTHEST)
    return z


def measure_step(usual: Usual, vector: Vector, others: Sequence[bytes]) -> float | None:
    """Return how far a picture is from the nearest of others: the root mean square difference of their z-scores.

    The others are packed; None where none of them can be compared.
    """
    comparable = [other for other in others if len(other) == 2 * len(vector)]
    if not comparable:
        return None
    z_differences = (unpack(b"".join(comparable)).reshape(len(comparable), -1) - vector) / usual.deviation
    mean_squares = np.add.reduce(z_differences * z_differences, axis=1) / np.float32(len(vector))
    return round(float(np.sqrt(mean_squares.min())), 6)


def measure_unusualness(z: Vector) -> float:
    """Return how far a picture is from the usual, 0..1: r / (1 + r) of its root mean square z-score r."""
    r = float(np.sqrt(np.add.reduce(z * z) / np.float32(len(z)))) if len(z) else 0.0
    return r / (1 + r)


def normalise(z: Vector) -> Vector:
    """Return the unit vector of z-scores, rounded to float16: cosines are its products."""
    length = float(np.linalg.norm(z))
    unit = z / length if length > 0 else z
    return unit.astype("<f2").astype(np.float32)
