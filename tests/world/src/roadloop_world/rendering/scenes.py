"""Say what is in front of the vehicle, moment by moment: the truth of a drive, before any picture is drawn."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from numpy.random import Generator, default_rng

CLASSES: tuple[str, ...] = ("car", "truck", "bus", "pedestrian", "bicycle", "e-bike", "tricycle")
FRAME_INTERVAL_S = 0.5
Useless = Literal["blur", "glare", "black"]
_USELESS: tuple[Useless, ...] = ("blur", "glare", "black")


class Condition(StrEnum):
    """Where and when a drive happens; everything but `CLEAR` is hard."""

    CLEAR = "clear"
    BACKLIGHT = "backlight"
    TUNNEL = "tunnel"
    BRIDGE = "bridge"
    RAIN = "rain"
    NIGHT = "night"
    RAMP = "ramp"


class View(StrEnum):
    """Which side of a road user the camera sees."""

    REAR = "rear"
    FRONT = "front"
    SIDE = "side"


@dataclass(frozen=True, slots=True)
class RoadUser:
    """Someone on the road: lengths in metres seen from the camera, speeds in m/s relative to it, colours RGB."""

    class_name: str
    view: View
    across_m: float  # of the middle; right is positive
    ahead_m: float
    width_m: float
    height_m: float
    across_speed: float
    ahead_speed: float
    paint: tuple[int, int, int]
    accent: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of a drive; `users` are sorted from far to near."""

    index: int
    offset_s: float
    travelled_m: float
    standing: bool
    useless: Useless | None
    users: tuple[RoadUser, ...]


@dataclass(frozen=True, slots=True)
class _Build:
    share: float
    side_m: float
    end_m: float
    height_m: float
    near_m: float
    far_m: float
    speed: float  # m/s, at most, when crossing


# Small road users are drawn a little larger than life: the pictures are only 256 pixels wide.
_BUILDS = {
    "car": _Build(0.28, 4.2, 2.0, 1.55, 6.5, 20, 4),
    "truck": _Build(0.11, 6.8, 2.6, 3.0, 10, 24, 3),
    "bus": _Build(0.11, 8.6, 2.7, 3.1, 11, 26, 3),
    "pedestrian": _Build(0.15, 0.95, 0.85, 1.95, 5, 13, 1.2),
    "bicycle": _Build(0.12, 1.9, 0.85, 1.9, 5, 13, 2),
    "e-bike": _Build(0.12, 1.95, 0.95, 1.8, 5, 13, 2.5),
    "tricycle": _Build(0.11, 2.7, 1.5, 1.85, 5.5, 14, 1.5),
}
_SHARES = [build.share for build in _BUILDS.values()]
_HALF_VIEW = 0.8  # metres to either side that the camera sees, per metre ahead


def simulate_scenes(seed: int, frames: int, *, useless_share: float = 0.06) -> Iterator[Scene]:
    """Yield `frames` moments, 0.5 s apart. At lights the vehicle and all around it stand still for 4 to 10 frames."""
    rng = default_rng([seed, 1])
    user_count = int(rng.integers(2, 6))
    users = _fill((), user_count, rng)
    travelled_m, moving_left, standing_left = 0.0, int(rng.integers(5, 16)), 0
    for index in range(frames):
        standing = standing_left > 0
        useless = _USELESS[int(rng.integers(3))] if rng.random() < useless_share else None
        yield Scene(index, index * FRAME_INTERVAL_S, travelled_m, standing, useless, users)
        moving_left, standing_left = _advance_light(moving_left, standing_left, rng)
        if standing_left == 0:
            travelled_m += 4.0
            users = _fill(_move(users), user_count, rng)


def _advance_light(moving_left: int, standing_left: int, rng: Generator) -> tuple[int, int]:
    if standing_left > 0:
        return (int(rng.integers(6, 20)), 0) if standing_left == 1 else (0, standing_left - 1)
    return (0, int(rng.integers(4, 11))) if moving_left <= 1 else (moving_left - 1, 0)


def _move(users: tuple[RoadUser, ...]) -> tuple[RoadUser, ...]:
    ahead = (
        replace(
            user,
            across_m=user.across_m + user.across_speed * FRAME_INTERVAL_S,
            ahead_m=user.ahead_m + user.ahead_speed * FRAME_INTERVAL_S,
        )
        for user in users
    )
    return tuple(user for user in ahead if _is_in_view(user))


def _is_in_view(user: RoadUser) -> bool:
    build = _BUILDS[user.class_name]
    reach_m = _HALF_VIEW * user.ahead_m + user.width_m * 0.2
    return build.near_m * 0.85 <= user.ahead_m <= build.far_m * 1.1 and abs(user.across_m) <= reach_m


def _fill(users: tuple[RoadUser, ...], user_count: int, rng: Generator) -> tuple[RoadUser, ...]:
    filled = list(users)
    for _ in range(3 * (user_count - len(users))):
        newcomer = _make_newcomer(rng)
        if len(filled) < user_count and not any(_hides(newcomer, user) for user in filled):
            filled.append(newcomer)
    return tuple(sorted(filled, key=lambda user: -user.ahead_m))


def _make_newcomer(rng: Generator) -> RoadUser:
    class_name = CLASSES[int(rng.choice(len(CLASSES), p=_SHARES))]
    build = _BUILDS[class_name]
    view = (View.REAR, View.FRONT, View.SIDE)[int(rng.choice(3, p=(0.3, 0.2, 0.5)))]
    ahead_m = float(rng.uniform(build.near_m, build.far_m))
    size = float(rng.uniform(0.9, 1.1))
    crossing = view == View.SIDE
    direction = 1 if rng.random() < 0.5 else -1
    return RoadUser(
        class_name,
        view,
        across_m=float(rng.uniform(-1, 1)) * _HALF_VIEW * ahead_m * 0.9,
        ahead_m=ahead_m,
        width_m=size * (build.side_m if crossing else build.end_m),
        height_m=size * build.height_m,
        across_speed=direction * float(rng.uniform(0.4, 1)) * build.speed if crossing else 0.0,
        ahead_speed=0.0 if crossing else float(rng.uniform(-0.8, 0.6) if view == View.REAR else rng.uniform(-2.5, -1)),
        paint=_choose_colour(rng),
        accent=_choose_colour(rng),
    )


def _choose_colour(rng: Generator) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in rng.integers(25, 235, 3))
    return red, green, blue


def _hides(user: RoadUser, other: RoadUser) -> bool:
    """Say whether the two overlap from the camera's place by more than a third of the narrower one."""
    halves = (user.width_m / user.ahead_m / 2, other.width_m / other.ahead_m / 2)
    apart = abs(user.across_m / user.ahead_m - other.across_m / other.ahead_m)
    return sum(halves) - apart > 0.66 * min(halves)
