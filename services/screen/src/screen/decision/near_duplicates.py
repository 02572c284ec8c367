"""How like a picture is to those kept before it, and what it leaves for those after it. Pure: history asks it too."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from roadloop_schemas.frames import IngestedFrame
from screen.decision.frame_keys import FrameKeys
from screen.decision.scene_distance import Scene
from screen.memory import kept_scenes
from screen.memory.kept_scenes import NOTHING_KEPT, KeptScenes
from screen.memory.state import KeptFrame, Memory
from screen.vision.detections import PERHAPS_THERE, SURELY_THERE, Box

Objects = tuple[tuple[str, int], ...]  # how many of each class, by name


class Picture(NamedTuple):
    """What a picture is compared by: its 64-bit difference hash in hex, its brightness 0..1, its packed embedding.

    `surely` and `perhaps` are the objects in it from a score of 0.5 and of 0.2.
    """

    dhash: str
    brightness: float
    embedding: bytes = b""
    surely: Objects = ()
    perhaps: Objects = ()


class Likeness(NamedTuple):
    """How like a picture is to kept ones; the fields are those of `Facts`, in their order."""

    nearest_bits: int | None = None
    nearest_step: float | None = None
    nearest_cosine: float | None = None
    light_change: float | None = None
    new_object: bool = False


def describe_picture(frame: IngestedFrame, boxes: Sequence[Box], embedding: bytes) -> Picture:
    """Return what a frame's picture is compared by; `boxes` are the serving model's."""
    surely, perhaps = count_objects(boxes, SURELY_THERE), count_objects(boxes, PERHAPS_THERE)
    return Picture(frame.dhash, frame.brightness, embedding, surely, perhaps)


def count_objects(boxes: Sequence[Box], at_least: float) -> Objects:
    """Return how many objects of each class there are, from a score on."""
    return tuple(sorted(Counter(box.class_name for box in boxes if box.score >= at_least).items()))


def compare(memory: Memory, keys: FrameKeys, picture: Picture, scene: Scene) -> Likeness:
    """Compare a picture with its camera's kept ones, and its scene with the kept ones of its slice."""
    nearest = memory.nearest_kept(keys.camera_key, picture.dhash)
    kept = memory.kept_scenes.get(keys.slice_key, NOTHING_KEPT)
    return Likeness(
        nearest_bits=None if nearest is None else nearest[0],
        nearest_step=scene.nearest_step,
        nearest_cosine=_nearest_cosine(kept, keys, scene),
        light_change=memory.light_change(keys.camera_key, picture.brightness),
        new_object=nearest is not None and shows_more(picture.surely, nearest[1]),
    )


def _nearest_cosine(kept: KeptScenes, keys: FrameKeys, scene: Scene) -> float | None:
    return None if scene.direction is None else kept_scenes.find_nearest_cosine(kept, keys.eye, scene.direction)


def shows_more(surely: Objects, kept: KeptFrame) -> bool:
    """Say whether a picture surely shows an object more than a kept one perhaps did: a fixed scene can change."""
    before = dict(kept.objects)
    return any(count > before.get(name, 0) for name, count in surely)


def remember_picture(memory: Memory, keys: FrameKeys, picture: Picture, scene: Scene, *, kept: bool) -> Memory:
    """Return the memory after one more picture of a camera, kept or only seen."""
    memory = memory.add_embedding(keys.tenant, keys.slice_key, keys.eye, picture.embedding)
    memory = memory.add_camera_embedding(keys.camera_key, keys.slice_key, picture.embedding, scene.step)
    if not kept:
        return memory
    frame = KeptFrame(picture.dhash, picture.perhaps, picture.embedding, picture.brightness)
    return memory.add_kept_frame(keys.camera_key, frame).add_kept_scene(keys.slice_key, keys.eye, scene.direction)
