"""What the streams are made of and what counts as hard: fixed before anything that chooses is tuned."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

FROZEN = Path(__file__).parent / "frozen.json"
TUNING_SEEDS = (101, 102, 103)
SEEDS = tuple(range(1, 11))

Mix = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Streams:
    """What the streams are made of; lengths in frames, shares of 1.

    `phases` are the shares of conditions in equal parts of the stream, one after the other: that is its drift.
    """

    frames: int = 20_000
    vehicles: int = 8
    rear_vehicles: int = 2  # their lens is soft
    unit: int = 16
    segments: tuple[int, int] = (2, 4)  # of a drive, at least and less than
    segment: tuple[int, int] = (20, 49)
    light_share: float = 0.44  # of the drives; the others never stand
    useless_share: float = 0.025
    empty_share: float = 0.10  # of the segments
    unknown_share: float = 0.10  # of the drives: the vehicle reports no condition
    wrong_share: float = 0.10  # of the segments: the vehicle reports a clear road
    phases: tuple[Mix, ...] = (
        {"clear": 0.92, "rain": 0.05, "bridge": 0.02, "ramp": 0.01},
        {"clear": 0.90, "rain": 0.02, "bridge": 0.02, "ramp": 0.03, "tunnel": 0.03},
        {"clear": 0.85, "rain": 0.01, "ramp": 0.02, "tunnel": 0.02, "night": 0.06, "backlight": 0.04},
        {"clear": 0.85, "bridge": 0.02, "ramp": 0.01, "tunnel": 0.03, "night": 0.04, "backlight": 0.05},
    )
    serving: str = "v1"
    second: str = "second"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What counts as an error, as hard, as silent and as one event.

    A frame is hard from `hard_errors` errors on. A miss is silent where neither model has a candidate of
    `silent_floor` that overlaps the object by `silent_overlap`.
    """

    serving_threshold: float = 0.35
    overlap: float = 0.5
    hard_errors: int = 3
    silent_floor: float = 0.10
    silent_overlap: float = 0.3
    event_gap: int = 2  # moments without the error that do not end an event


def digest(*parts: object) -> str:
    """Return the SHA-256, in hex, of the values of configurations and of bytes."""
    texts = [part if isinstance(part, bytes) else json.dumps(astuple(part)).encode() for part in parts]  # type: ignore[call-overload]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


class Thawed(Exception):
    """The configuration is not the frozen one: figures would not be those of the same task."""


def check(sha256: str, frozen: Mapping[str, Any]) -> None:
    """Raise Thawed where a configuration's digest is not the frozen one."""
    if sha256 != frozen["sha256"]:
        raise Thawed(
            f"the streams' configuration has digest {sha256[:12]}, {FROZEN.name} froze {frozen['sha256'][:12]}: "
            "scenes, models or the meaning of hard were changed after choosing was tuned. Take the change back, or "
            "freeze anew with `python bench/run.py learning --freeze` and say so beside the figures"
        )
