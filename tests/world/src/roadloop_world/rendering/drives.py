"""Turn a drive into camera frames with exact truth, the same for the same seed."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from roadloop_world.rendering.backdrops import (
    CAMERA_HEIGHT_M,
    FOCAL,
    HEIGHT,
    HORIZON,
    WIDTH,
    Backdrop,
    choose_backdrop,
    draw_backdrop,
)
from roadloop_world.rendering.road_users import draw
from roadloop_world.rendering.scenes import Condition, RoadUser, Scene, Useless, View, simulate_scenes
from roadloop_world.rendering.shapes import Image, Spot
from roadloop_world.rendering.weather import Box, add_noise, add_weather, spoil

_MIN_SIDE_PX = 4.0
_MIN_VISIBLE = 0.4  # part of a box that nothing nearer covers
_NOISE = {Condition.NIGHT: 7.0, Condition.TUNNEL: 6.0, Condition.BACKLIGHT: 4.0}
_LIT = {"car", "truck", "bus"}


@dataclass(frozen=True, slots=True)
class TruthBox:
    """What is really there; corners in 0..1 of the picture."""

    class_name: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A camera frame. `boxes` is what a careful person could label: nothing on a useless frame.

    `unlabelable` is what is there too, but too small, cut or hidden: a detection there is neither right nor wrong.
    """

    image: Image  # [160, 256, 3], RGB
    boxes: tuple[TruthBox, ...]
    condition: Condition
    offset_s: float  # after the drive's start
    useless: Useless | None
    standing: bool
    unlabelable: tuple[TruthBox, ...] = ()


def render_drive(seed: int, frames: int, condition: Condition, *, useless_share: float = 0.06) -> Iterator[Frame]:
    """Yield the frames of one drive, 0.5 s apart; the same arguments give the same bytes."""
    render = Camera(seed, condition)
    for scene in simulate_scenes(seed, frames, useless_share=useless_share):
        yield render(scene)


class Camera:
    """Render a drive's scenes. It remembers only how the drive looks, so scenes may come in any order."""

    def __init__(self, seed: int, condition: Condition) -> None:
        look = default_rng([seed, 2])
        self._seed = seed
        self._light = float(look.random())
        self._backdrop: Backdrop = choose_backdrop(condition, look)

    def __call__(self, scene: Scene) -> Frame:
        """Return the picture of one scene with its truth."""
        condition = self._backdrop.condition
        rng = default_rng([self._seed, 3, scene.index])
        image = draw_backdrop(self._backdrop, scene)
        boxes = [_project(user, self._backdrop.slope) for user in scene.users]
        for user, box in zip(scene.users, boxes, strict=True):
            draw(Spot(image, *box, mirrored=user.across_speed < 0), user)
        lamps = [box for user, box in zip(scene.users, boxes, strict=True) if _has_lamps(user)]
        still = default_rng([self._seed, 4]) if scene.standing else rng
        image = add_weather(image, condition, self._light, lamps, still)
        if scene.useless is not None:
            image = spoil(image, scene.useless, rng)
        image = add_noise(image, _NOISE.get(condition, 2.0), rng)
        labelable, unlabelable = ((), ()) if scene.useless else _split_truth(scene.users, boxes)
        return Frame(image, labelable, condition, scene.offset_s, scene.useless, scene.standing, unlabelable)


def encode_jpeg(frame: Frame, *, quality: int = 90) -> bytes:
    """Return the frame as a JPEG file."""
    is_encoded, encoded = cv2.imencode(".jpg", frame.image[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not is_encoded:
        raise ValueError("the picture cannot be written as JPEG")
    return bytes(encoded)


def _has_lamps(user: RoadUser) -> bool:
    return user.class_name in _LIT and user.view != View.SIDE


def _project(user: RoadUser, slope: float) -> Box:
    """Return where the camera sees `user`, in pixels; parts may lie outside the picture."""
    scale = FOCAL / user.ahead_m
    x = WIDTH / 2 + user.across_m * scale
    ground = HORIZON + CAMERA_HEIGHT_M * scale + slope * (x - WIDTH / 2)
    half = user.width_m * scale / 2
    return x - half, ground - user.height_m * scale, x + half, ground


def _split_truth(users: tuple[RoadUser, ...], boxes: list[Box]) -> tuple[tuple[TruthBox, ...], tuple[TruthBox, ...]]:
    """Return the boxes that can be labelled, cut at the picture's edge, and those that cannot."""
    owner: NDArray[np.int8] = np.full((HEIGHT, WIDTH), -1, np.int8)
    cut = [(max(0.0, x1), max(0.0, y1), min(WIDTH, x2), min(HEIGHT, y2)) for x1, y1, x2, y2 in boxes]
    for index, box in enumerate(cut):
        owner[_to_slices(box)] = index
    clear: list[TruthBox] = []
    unclear: list[TruthBox] = []
    for index, (user, box, whole) in enumerate(zip(users, cut, boxes, strict=True)):
        truth_box = TruthBox(user.class_name, box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT)
        is_seen = _is_large(box, whole) and float(np.mean(owner[_to_slices(box)] == index)) >= _MIN_VISIBLE
        (clear if is_seen else unclear).append(truth_box)
    return tuple(clear), tuple(unclear)


def _is_large(box: Box, whole: Box) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    inside = width * height / ((whole[2] - whole[0]) * (whole[3] - whole[1]))
    return width >= _MIN_SIDE_PX and height >= _MIN_SIDE_PX and inside >= 0.3


def _to_slices(box: Box) -> tuple[slice, slice]:
    x1, y1, x2, y2 = (round(edge) for edge in box)
    return slice(y1, y2), slice(x1, x2)
