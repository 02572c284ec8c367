"""Plan a day of a small fleet, frame by frame, and render any frame of it again: exact truth, same for a seed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator, default_rng

from learning.configuration import Mix, Streams
from roadloop_world.rendering.drives import Camera, Frame, encode_jpeg
from roadloop_world.rendering.scenes import Condition, Scene, simulate_scenes
from roadloop_world.rendering.shapes import Image

FIRST_DRIVE = 50_000_000  # no other drive of the simulated world has such a seed
LIGHTS = ("clear", "rain", "night", "backlight")  # hold for a whole drive; the others are places along a clear one
SOFT_LENS_PX = 0.6


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a drive under one condition; `reported` is what the vehicle knew of it."""

    condition: Condition
    reported: str
    frames: int
    empty: bool


@dataclass(frozen=True, slots=True)
class Drive:
    """One drive: its number in the stream, and what it meets."""

    number: int
    seed: int
    vehicle: int
    camera: str
    stands: bool
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame to be: the `scene` number tells moments apart that do not show the same."""

    drive: Drive
    segment: Segment
    shown: Scene
    scene: int
    place: int  # in the drive's own order


def moments(seed: int, asked: Streams) -> list[Moment]:
    """Return a stream: units of a few frames, one vehicle after the other, each in the middle of its own drives."""
    rng = default_rng([seed, 77])
    queues: dict[int, list[Moment]] = {vehicle: [] for vehicle in range(asked.vehicles)}
    stream: list[Moment] = []
    number = 0
    while len(stream) < asked.frames:
        for vehicle, waiting in queues.items():
            while len(waiting) < asked.unit:
                waiting.extend(_moments_of(_drive(seed, number, vehicle, len(stream), asked, rng), asked))
                number += 1
            taken = _one_drive(waiting[: asked.unit])
            stream += taken
            del waiting[: len(taken)]
    return stream[: asked.frames]


def _one_drive(waiting: list[Moment]) -> list[Moment]:
    """Return the first of these that are of one drive: a unit never spans two."""
    return [moment for moment in waiting if moment.drive is waiting[0].drive]


def _drive(seed: int, number: int, vehicle: int, reached: int, asked: Streams, rng: Generator) -> Drive:
    phases = asked.phases
    mix = phases[min(len(phases) - 1, reached * len(phases) // asked.frames)]
    light = _drawn({name: share for name, share in _by_light(mix).items() if share}, rng)
    unknown = rng.random() < asked.unknown_share
    segments = tuple(_segment(light, mix, unknown, asked, rng) for _ in range(int(rng.integers(*asked.segments))))
    camera = "rear" if vehicle >= asked.vehicles - asked.rear_vehicles else "front"
    stands = bool(rng.random() < asked.light_share)
    return Drive(number, FIRST_DRIVE + 100_000 * seed + number, vehicle, camera, stands, segments)


def _by_light(mix: Mix) -> dict[str, float]:
    clear = sum(share for name, share in mix.items() if name == "clear" or name not in LIGHTS)
    return {**{name: mix.get(name, 0.0) for name in LIGHTS}, "clear": clear}


def _segment(light: str, mix: Mix, unknown: bool, asked: Streams, rng: Generator) -> Segment:
    along = {name: share for name, share in mix.items() if name == "clear" or name not in LIGHTS}
    condition = _drawn(along, rng) if light == "clear" else light
    wrong = rng.random() < asked.wrong_share
    reported = "unknown" if unknown else "clear" if wrong else condition
    frames = int(rng.integers(*asked.segment))
    return Segment(Condition(condition), reported, frames, bool(rng.random() < asked.empty_share))


def _drawn(mix: Mapping[str, float], rng: Generator) -> str:
    names = list(mix)
    shares = np.array([mix[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _moments_of(drive: Drive, asked: Streams) -> Iterator[Moment]:
    """Yield a drive's moments; a segment never ends while the vehicle stands."""
    wanted = sum(segment.frames for segment in drive.segments)
    scene, place, segments = -1, 0, [(segment, segment.frames) for segment in drive.segments]
    for shown in simulate_scenes(drive.seed, 3 * wanted, useless_share=asked.useless_share):
        if shown.standing and not drive.stands:
            continue
        scene += not shown.standing
        if segments[0][1] <= 0 and not shown.standing:
            del segments[0]
            if not segments:
                return
        segment, left = segments[0]
        segments[0] = segment, left - 1
        users = () if segment.empty else shown.users
        yield Moment(drive, segment, replace(shown, users=users), scene, place)
        place += 1


def render(moment: Moment) -> Frame:
    """Draw a moment as its camera took it."""
    frame = _camera(moment.drive.seed, moment.segment.condition)(moment.shown)
    return frame if moment.drive.camera == "front" else replace(frame, image=_soft(frame.image))


def picture(moment: Moment) -> bytes:
    """Return a moment as the JPEG file its vehicle uploads."""
    return encode_jpeg(render(moment))


@lru_cache(maxsize=64)
def _camera(seed: int, condition: Condition) -> Camera:
    return Camera(seed, condition)


def _soft(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), SOFT_LENS_PX), np.uint8)
