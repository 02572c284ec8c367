"""A drive is the same for the same seed, its truth is true, and it has what makes streams hard."""

from itertools import pairwise

import numpy as np
import pytest

from roadloop_world.rendering.drives import Frame, encode_jpeg, render_drive
from roadloop_world.rendering.scenes import CLASSES, Condition, simulate_scenes

LONG = 60


def _frames(condition: Condition, seed: int = 5, useless_share: float = 0.0) -> list[Frame]:
    return list(render_drive(seed, LONG, condition, useless_share=useless_share))


def _difference(one: Frame, other: Frame) -> float:
    return float(np.abs(one.image.astype(int) - other.image.astype(int)).mean())


@pytest.mark.parametrize("condition", Condition)
def test_same_seed_gives_same_bytes(condition: Condition) -> None:
    one, other = (list(render_drive(3, 12, condition)) for _ in range(2))
    assert [encode_jpeg(frame) for frame in one] == [encode_jpeg(frame) for frame in other]
    assert [frame.boxes for frame in one] == [frame.boxes for frame in other]


def test_other_seed_gives_another_drive() -> None:
    assert [frame.boxes for frame in _frames(Condition.CLEAR, 5)] != [
        frame.boxes for frame in _frames(Condition.CLEAR, 6)
    ]


@pytest.mark.parametrize("condition", Condition)
def test_frames_have_the_promised_shape(condition: Condition) -> None:
    frame = _frames(condition)[0]
    assert frame.image.shape == (160, 256, 3)
    assert frame.image.dtype == np.uint8
    assert frame.condition == condition


@pytest.mark.parametrize("condition", Condition)
def test_boxes_lie_inside_the_picture(condition: Condition) -> None:
    boxes = [box for seed in range(8) for frame in _frames(condition, seed) for box in frame.boxes]
    assert len(boxes) > LONG
    assert all(0 <= box.x1 < box.x2 <= 1 and 0 <= box.y1 < box.y2 <= 1 for box in boxes)


def test_every_class_drives_by() -> None:
    seen = {box.class_name for seed in range(12) for frame in _frames(Condition.CLEAR, seed) for box in frame.boxes}
    assert seen == set(CLASSES)


def test_frames_at_a_light_are_nearly_identical() -> None:
    frames = _frames(Condition.RAIN)
    pairs = [(a, b) for a, b in pairwise(frames) if a.standing and b.standing]
    assert pairs
    assert all(a.boxes == b.boxes and 0 < _difference(a, b) < 4 for a, b in pairs)


def test_moving_frames_differ_and_objects_persist() -> None:
    frames = [frame for frame in _frames(Condition.CLEAR) if not frame.standing]
    shared = [{box.class_name for box in a.boxes} & {box.class_name for box in b.boxes} for a, b in pairwise(frames)]
    assert sum(bool(classes) for classes in shared) > 0.8 * len(shared)
    assert np.mean([_difference(a, b) for a, b in pairwise(frames)]) > 4


def test_conditions_look_different() -> None:
    looks = {condition: _frames(condition)[0] for condition in Condition}
    apart = [_difference(looks[a], looks[b]) for a in Condition for b in Condition if a < b]
    assert min(apart) > 8


def test_useless_frames_have_no_truth_and_carry_no_detail() -> None:
    frames = [frame for seed in range(4) for frame in _frames(Condition.CLEAR, seed, useless_share=0.3)]
    detail = {
        kind: np.mean([np.abs(np.diff(f.image.astype(int), axis=1)).mean() for f in frames if f.useless == kind])
        for kind in (None, "blur", "glare", "black")
    }
    assert all(frame.boxes == () for frame in frames if frame.useless)
    assert max(detail["blur"], detail["glare"], detail["black"]) < 0.7 * detail[None]


def test_offsets_are_half_a_second_apart() -> None:
    assert [frame.offset_s for frame in _frames(Condition.CLEAR)[:4]] == [0.0, 0.5, 1.0, 1.5]


def test_whoever_is_in_the_picture_can_be_labelled_or_is_told_as_unlabelable() -> None:
    frames = [frame for seed in range(8) for frame in render_drive(seed, 20, Condition.CLEAR, useless_share=0.0)]
    users = [scene.users for seed in range(8) for scene in simulate_scenes(seed, 20, useless_share=0.0)]
    assert [len(frame.boxes) + len(frame.unlabelable) for frame in frames] == [len(few) for few in users]
    assert any(frame.unlabelable for frame in frames)
    assert all(not set(frame.boxes) & set(frame.unlabelable) for frame in frames)
