"""Write labelled frames as dataset folders, and say which drives a fleet makes."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.random import default_rng

from roadloop_world.rendering.drives import Camera, Frame, TruthBox, encode_jpeg
from roadloop_world.rendering.scenes import CLASSES, Condition, simulate_scenes

BASE_FRAMES = 1500
VALIDATION_FRAMES = 100  # per condition
HARD = tuple(condition for condition in Condition if condition != Condition.CLEAR)
FLEET_MIX: Mapping[Condition, float] = {Condition.CLEAR: 0.88, **dict.fromkeys(HARD, 0.02)}
# A fleet in a winter week: two thirds of it clear, so that a few hundred labels meet every hard condition.
WINTER_MIX: Mapping[Condition, float] = {Condition.CLEAR: 0.64, **dict.fromkeys(HARD, 0.06)}
HARD_MIX: Mapping[Condition, float] = dict.fromkeys(HARD, 1 / len(HARD))

# Drives with seeds from different ranges never share a drive.
_BASE_SEEDS, _VALIDATION_SEEDS, _FLEET_SEEDS = 1_000_000, 2_000_000, 3_000_000
_DRIVE_FRAMES, _STRIDE = 40, 8


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """One drive of a fleet, to be given to `drive`."""

    seed: int
    condition: Condition


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One row of a dataset: a JPEG file, the boxes on it, and how often it counts."""

    name: str
    picture: bytes
    boxes: Sequence[TruthBox]
    condition: Condition
    weight: float = 1.0


def render_base_training_set(frames: int = BASE_FRAMES) -> Iterator[LabelledFrame]:
    """Yield the frames the first detectors learn from: clear scenes only, the same on every call."""
    return _render_labelled("base", _BASE_SEEDS, Condition.CLEAR, frames)


def render_validation_set(frames: int = VALIDATION_FRAMES) -> Iterator[LabelledFrame]:
    """Yield `frames` frames of each condition, the same on every call, from drives nothing else uses."""
    for number, condition in enumerate(Condition):
        yield from _render_labelled("validation", _VALIDATION_SEEDS + 10_000 * number, condition, frames)


def render_hard_frames(frames: int, seed: int, mix: Mapping[Condition, float] = HARD_MIX) -> Iterator[LabelledFrame]:
    """Yield one labelled frame of each of `frames` drives, their conditions in the shares of `mix`."""
    plans = plan_drives(seed, frames, mix)
    drives = (_render_labelled("fleet", plan.seed, plan.condition, 1) for plan in plans)
    return (frame for drive in drives for frame in drive)


def plan_drives(seed: int, drives: int, mix: Mapping[Condition, float] = FLEET_MIX) -> list[DrivePlan]:
    """Plan a fleet's drives: each has one condition, drawn in the shares of `mix` (they need not sum to 1)."""
    rng = default_rng([seed, 5])
    conditions = list(mix)
    total = sum(mix.values())
    choices = rng.choice(len(conditions), size=drives, p=[mix[condition] / total for condition in conditions])
    first = _FLEET_SEEDS + 100_000 * seed
    return [DrivePlan(first + number, conditions[int(choice)]) for number, choice in enumerate(choices)]


def write_split(folder: Path, split: str, frames: Iterable[LabelledFrame]) -> int:
    """Write pictures and `<split>.jsonl` into a dataset folder; return how many frames it got."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps(CLASSES) + "\n")
    lines = [_write_frame(folder, frame) for frame in frames]
    (folder / f"{split}.jsonl").write_text("".join(line + "\n" for line in lines))
    return len(lines)


def _write_frame(folder: Path, frame: LabelledFrame) -> str:
    (folder / "images" / frame.name).write_bytes(frame.picture)
    boxes = [{"class": box.class_name, "x1": box.x1, "y1": box.y1, "x2": box.x2, "y2": box.y2} for box in frame.boxes]
    row = {"image": f"images/{frame.name}", "boxes": boxes, "weight": frame.weight, "condition": frame.condition.value}
    return json.dumps(row)


def _render_labelled(prefix: str, seed: int, condition: Condition, frames: int) -> Iterator[LabelledFrame]:
    """Take frames 4 s apart, so that no two show the same moment; drives have consecutive seeds from `seed` on."""
    for number in range(frames):
        drive_seed = seed + number // (_DRIVE_FRAMES // _STRIDE)
        frame = _render_frame(drive_seed, condition, number % (_DRIVE_FRAMES // _STRIDE) * _STRIDE)
        yield LabelledFrame(f"{prefix}-{condition}-{seed}-{number:04d}.jpg", encode_jpeg(frame), frame.boxes, condition)


def _render_frame(seed: int, condition: Condition, index: int) -> Frame:
    *_, scene = simulate_scenes(seed, index + 1, useless_share=0.0)
    return Camera(seed, condition)(scene)
