"""A picture as a whole, against what is remembered of others. Pure."""

from dataclasses import dataclass

import numpy as np

from roadloop_schemas.policies import ScreenPolicy
from screen.decision.frame_keys import FrameKeys
from screen.memory.embedding_statistics import (
    NOTHING_SCENIC,
    Usual,
    measure_step,
    measure_unusualness,
    normalise,
    usual_of,
    whiten,
)
from screen.memory.state import Memory
from screen.vision.embedding import Vector, from_text, unpack


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture as a whole: how unusual it is for its tenant, 0..1, and how it differs from others of its slice.

    `direction` is a unit vector [D], by what is usual for the slice and not for the tenant: seen from the day all
    nights look alike. `step` is how far it is from the camera's last picture. None where that is not known.
    """

    unusual: float | None = None
    direction: Vector | None = None
    step: float | None = None
    nearest_step: float | None = None


def measure_scene(memory: Memory, keys: FrameKeys, embedding: bytes) -> Scene:
    """Return how a picture differs from what those of its tenant, and of its slice, usually look like."""
    if not embedding:
        return Scene()
    vector = unpack(embedding)
    of_tenant, of_slice = (_usual(memory, key, keys.eye, len(vector)) for key in (keys.tenant, keys.slice_key))
    unusual = None if of_tenant is None else measure_unusualness(whiten(of_tenant, vector))
    if of_slice is None:
        return Scene(unusual)
    kept = [frame.embedding for frame in memory.kept.get(keys.camera_key, ())]
    nearest, stride = measure_step(of_slice, vector, kept), memory.strides.get(keys.slice_key)
    return Scene(
        unusual,
        normalise(whiten(of_slice, vector)),
        measure_step(of_slice, vector, [memory.latest.get(keys.camera_key, b"")]),
        None if nearest is None or not stride else round(nearest / stride, 4),
    )


def _usual(memory: Memory, key: str, eye: str, dimensions: int) -> Usual | None:
    return usual_of(memory.scenery.get(key, NOTHING_SCENIC), eye, dimensions)


def compare_with_empty(memory: Memory, keys: FrameKeys, policy: ScreenPolicy, scene: Scene) -> float | None:
    """Return the largest cosine to scenes that the audit has shown to be empty; None where none can be compared."""
    known = policy.empty_scenes
    if scene.direction is None or known is None or known.eye != keys.eye:
        return None
    usual = _usual(memory, keys.slice_key, keys.eye, len(scene.direction))
    vectors = (unpack(from_text(text)) for text in known.scenes)
    empties = [vector for vector in vectors if len(vector) == len(scene.direction)]
    if usual is None or not empties:
        return None
    best = max(float(normalise(z) @ scene.direction) for z in whiten(usual, np.stack(empties)))
    return round(min(1.0, max(-1.0, best)), 4)
