"""A picture as a whole, against what is remembered of others. Pure."""

from dataclasses import dataclass

from roadloop_schemas.policies import ScreenPolicy
from screen.embedding import Vector, from_text
from screen.memory import NOTHING_SCENIC, Memory
from screen.scenery import direction, step, unusualness, whitened
from screen.where import Where


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


def scene_of(memory: Memory, where: Where, embedding: bytes) -> Scene:
    """Return how a picture differs from what those of its tenant, and of its slice, usually look like."""
    if not embedding:
        return Scene()
    of_tenant, of_slice = (memory.scenery.get(key, NOTHING_SCENIC) for key in (where.tenant, where.slice_key))
    z = whitened(of_tenant, where.eye, embedding)
    own = whitened(of_slice, where.eye, embedding)
    last = memory.latest.get(where.camera_key)
    kept = [frame.embedding for frame in memory.kept.get(where.camera_key, ())]
    nearest, stride = step(of_slice, where.eye, embedding, kept), memory.strides.get(where.slice_key)
    return Scene(
        None if z is None else unusualness(z),
        None if own is None else direction(own),
        None if last is None else step(of_slice, where.eye, embedding, [last]),
        None if nearest is None or not stride else round(nearest / stride, 4),
    )


def like_empty(memory: Memory, where: Where, policy: ScreenPolicy, scene: Scene) -> float | None:
    """Return the largest cosine to scenes that the audit has shown to be empty; None where none can be compared."""
    known = policy.empty_scenes
    if scene.direction is None or known is None or known.eye != where.eye:
        return None
    empties = (scene_of(memory, where, from_text(text)).direction for text in known.scenes)
    cosines = [float(empty @ scene.direction) for empty in empties if empty is not None]
    return round(min(1.0, max(-1.0, *cosines)), 4) if cosines else None
