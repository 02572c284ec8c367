"""Datasets are the same on every call, keep their drives apart, and are written in the trainer's format."""

import json
from itertools import islice
from pathlib import Path

from roadloop_world.rendering.datasets import (
    FLEET_MIX,
    HARD,
    plan_drives,
    render_base_training_set,
    render_hard_frames,
    render_validation_set,
    write_split,
)
from roadloop_world.rendering.scenes import CLASSES, Condition


def test_base_set_is_clear_and_repeatable() -> None:
    one, other = (list(render_base_training_set(12)) for _ in range(2))
    assert one == other
    assert {frame.condition for frame in one} == {Condition.CLEAR}


def test_validation_set_has_each_condition_and_none_of_the_base_pictures() -> None:
    frames = list(render_validation_set(3))
    assert [frame.condition for frame in frames] == [condition for condition in Condition for _ in range(3)]
    assert {frame.picture for frame in frames}.isdisjoint({frame.picture for frame in render_base_training_set(15)})


def test_fleet_keeps_the_shares_of_its_mix() -> None:
    plans = plan_drives(4, 4000, FLEET_MIX)
    clear = sum(plan.condition == Condition.CLEAR for plan in plans) / len(plans)
    assert abs(clear - 0.88) < 0.02
    assert {plan.condition for plan in plans} == set(Condition)
    assert len({plan.seed for plan in plans}) == len(plans)


def test_shares_need_not_sum_to_one() -> None:
    assert {plan.condition for plan in plan_drives(4, 50, {Condition.RAIN: 3, Condition.NIGHT: 1})} == {"rain", "night"}


def test_hard_frames_are_hard() -> None:
    assert {frame.condition for frame in render_hard_frames(40, 3)} <= set(HARD)


def test_split_is_written_in_the_trainers_format(tmp_path: Path) -> None:
    written = write_split(tmp_path, "train", islice(render_base_training_set(3), 3))
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert (written, len(rows)) == (3, 3)
    assert json.loads((tmp_path / "classes.json").read_text()) == list(CLASSES)
    assert all((tmp_path / row["image"]).read_bytes().startswith(b"\xff\xd8") for row in rows)
    assert set(rows[0]["boxes"][0]) == {"class", "x1", "y1", "x2", "y2"}
