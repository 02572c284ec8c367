"""What is frozen is the task, not its code: another name thaws nothing, another shade or limit does."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from learning import stream, truth
from learning.configuration import FROZEN, TUNING_SEEDS, Meaning, Streams, check
from learning.freeze import compute_frozen_digest
from learning.sample import judge_drawn_predictions, sample_moments, shrink
from roadloop_world.rendering import drives, road_users
from roadloop_world.rendering.scenes import CLASSES, Condition, View

ROOT = Path(__file__).resolve().parents[3]
SHORT = replace(Streams(), frames=400, vehicles=4, rear_vehicles=1)
RENAMED = ("draw_backdrop", "_draw_car_side", "TYRE", "across_m", "simulate_scenes", "_paired", "find_events", "gap")
PROGRAM = """
from learning.answers import find_events_renamed
from roadloop_world.rendering.backdrops import draw_backdrop_renamed
from learning.freeze import compute_frozen_digest
from learning.configuration import Meaning, Streams
print(compute_frozen_digest(Streams(frames=400, vehicles=4, rear_vehicles=1), Meaning()))
"""


@pytest.fixture(scope="module")
def digest_of_today() -> str:
    return compute_frozen_digest(SHORT, Meaning())


def test_the_task_of_today_is_the_frozen_one() -> None:
    check(compute_frozen_digest(Streams(), Meaning()), json.loads(FROZEN.read_text()))


def test_another_name_is_the_same_task(tmp_path: Path, digest_of_today: str) -> None:
    world = Path("tests/world/src/roadloop_world")
    for folder in (Path("bench/learning"), world, world / "rendering"):
        _copy_renamed(ROOT / folder, tmp_path / folder)
    (tmp_path / "services").symlink_to(ROOT / "services")
    paths = os.pathsep.join(str(tmp_path / folder) for folder in (Path("bench"), world.parent))
    digest = subprocess.check_output(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONPATH": paths}, text=True, timeout=120
    )
    assert digest.strip() == digest_of_today


def _copy_renamed(folder: Path, to: Path) -> None:
    to.mkdir(parents=True)
    for path in folder.glob("*.py"):
        text = re.sub(rf"\b({'|'.join(RENAMED)})\b", r"\1_renamed", path.read_text())
        (to / path.name).write_text(f"{text}# nothing else is new\n")


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        pytest.param(road_users, "GLASS", (97, 128, 150), id="a-shade-of-all-windows"),
        pytest.param(drives, "_MIN_VISIBLE", 0.5, id="what-can-be-labelled"),
        pytest.param(stream, "SOFT_LENS_PX", 0.65, id="a-lens"),
        pytest.param(stream, "LIGHTS", ("clear", "rain", "night", "backlight", "tunnel"), id="what-holds-for-a-drive"),
        pytest.param(truth, "_off", lambda boxes, others, at_least: np.ones(len(boxes), bool), id="what-is-silent"),
    ],
)
def test_another_task_thaws(
    module: ModuleType, name: str, value: object, digest_of_today: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, value)
    assert compute_frozen_digest(SHORT, Meaning()) != digest_of_today


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(replace(SHORT, useless_share=0.03), id="more-that-is-useless"),
        pytest.param(replace(SHORT, second="v0"), id="another-network"),
    ],
)
def test_other_streams_thaw(streams: Streams, digest_of_today: str) -> None:
    assert compute_frozen_digest(streams, Meaning()) != digest_of_today


@pytest.mark.parametrize(
    "meaning",
    [
        Meaning(serving_threshold=0.36),
        Meaning(overlap=0.51),
        Meaning(hard_errors=4),
        Meaning(silent_floor=0.11),
        Meaning(silent_overlap=0.31),
        Meaning(event_gap=3),
    ],
    ids=str,
)
def test_drawn_predictions_lie_at_every_limit(meaning: Meaning) -> None:
    """The least step of a limit changes what is judged, so code that reads a limit otherwise shows as well."""
    assert judge_drawn_predictions(meaning) != judge_drawn_predictions(Meaning())


def test_the_sample_shows_all_that_can_be_drawn() -> None:
    sample = [moment for seed in TUNING_SEEDS for moment in sample_moments(stream.moments(seed, Streams()))]
    assert {moment.segment.condition for moment in sample} == set(Condition)
    assert {moment.shown.useless for moment in sample} == {None, "blur", "glare", "black"}
    assert {moment.drive.camera for moment in sample} == {"front", "rear"}
    assert {(user.class_name, user.view) for moment in sample for user in moment.shown.users} == {
        (class_name, view) for class_name in CLASSES for view in View
    }


def test_a_grey_level_of_a_pixel_is_no_change_and_of_a_block_is_one() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    pixel, block = image.copy(), image.copy()
    pixel[3, 3, 0] += 1
    block[:8, :8, 0] += 1
    assert shrink(pixel).tolist() == shrink(image).tolist()
    assert (shrink(block) != shrink(image)).sum() == 1
