"""Streams are the same for a seed, and frozen; the product is driven as a worker drives it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from learning import arms
from learning.answers import Answers, answer
from learning.configuration import Meaning, Streams, Thawed, check, digest
from learning.days import OURS, SHUFFLED, measure_day
from learning.figures import recall
from learning.look import Predictions, look
from learning.measure import POLICY
from learning.product import make_day, screen
from learning.stream import Moment, moments, picture

SHORT = replace(Streams(), frames=800, vehicles=4, rear_vehicles=1)


@pytest.fixture(scope="module")
def stream() -> list[Moment]:
    return moments(9_001, SHORT)


@pytest.fixture(scope="module")
def looks() -> Predictions:
    return look(9_001, SHORT, lambda _: None)


@pytest.fixture(scope="module")
def truth(stream: list[Moment], looks: Predictions) -> Answers:
    return answer(stream, looks, Meaning())


def test_a_seed_gives_the_same_frames_again(stream: list[Moment]) -> None:
    again = moments(9_001, SHORT)
    assert again == stream
    assert picture(again[600]) == picture(stream[600])
    assert moments(9_002, SHORT) != stream


def test_a_standing_vehicle_sees_the_same_scene_with_other_noise(stream: list[Moment]) -> None:
    pairs = [
        (one, other)
        for one, other in pairwise(stream)
        if other.shown.standing and one.drive is other.drive and not (one.shown.useless or other.shown.useless)
    ]
    assert pairs
    assert all(one.scene == other.scene and one.shown.users == other.shown.users for one, other in pairs)
    assert picture(pairs[0][0]) != picture(pairs[0][1])


def test_a_unit_never_spans_two_drives_and_a_drive_is_in_order(stream: list[Moment]) -> None:
    places: dict[int, list[int]] = {}
    for moment in stream:
        places.setdefault(moment.drive.number, []).append(moment.place)
    assert all(found == list(range(len(found))) for found in places.values())
    units = make_day(1, stream, _empty_looks(len(stream)), second="none", unit=16).units
    assert max(len(unit.frames) for unit in units) == 16
    assert sum(len(unit.frames) for unit in units) == len(stream)


def _empty_looks(frames: int) -> Predictions:
    none, ends = np.empty((0, 6), np.float32), np.zeros(frames, np.int64)
    vectors = np.zeros((frames, 4), np.float16)
    numbers = np.zeros(frames)
    half = none.astype(np.float16)
    boxes = (none, ends, half, none, ends, none, ends, none, ends)
    return Predictions(*boxes, vectors, vectors, numbers.astype(np.uint64), numbers, numbers)


def test_any_change_thaws_and_says_what_to_do() -> None:
    frozen = {"sha256": digest(SHORT, Meaning())}
    check(digest(SHORT, Meaning()), frozen)
    for changed in (
        digest(replace(SHORT, frames=801), Meaning()),
        digest(SHORT, Meaning(hard_errors=2)),
        digest(SHORT, Meaning(), b"x"),
    ):
        with pytest.raises(Thawed, match=r"freeze anew with `python bench/run.py learning --freeze`"):
            check(changed, frozen)


def test_a_fixed_threshold_keeps_what_the_product_with_that_threshold_keeps(
    stream: list[Moment], looks: Predictions
) -> None:
    fixed = POLICY.model_copy(
        update={"controlled": False, "audit_share": 0.0, "weights": {"uncertainty": 1.0}, "threshold": 0.8}
    )
    today = make_day(1, stream, looks, second="other", unit=16)
    screened = screen(today, fixed)
    scores = np.array([parts["uncertainty"] for parts in screened.parts])
    kept = arms.keep_above(arms.know(today, fixed), scores, 0.8, fixed)
    assert screened.kept.sum() > 30
    assert (kept == screened.kept).all()


def test_every_arm_keeps_the_budget(stream: list[Moment], looks: Predictions) -> None:
    known = arms.know(make_day(1, stream, looks, second="other", unit=16), POLICY)
    for scores in (arms.draw_scores(1, len(known)), arms.spread_scores(len(known)), np.zeros(len(known))):
        assert arms.keep_by_best_threshold(known, scores, POLICY, seed=1).sum() == pytest.approx(80, abs=3)


def test_shuffled_truth_gives_nobody_an_advantage_and_the_ceiling_shows_that_there_is_one(
    stream: list[Moment], looks: Predictions, truth: Answers
) -> None:
    nobody = {"other": (), "clone": (), "none": ()}
    found = measure_day(9_001, looks, SHORT, Meaning(), policy=POLICY, before=nobody)
    assert found.arms["ceiling"]["hard_recall"] > 3 * found.arms["random"]["hard_recall"]
    known = arms.know(make_day(1, stream, looks, second="other", unit=16), POLICY)
    kept = arms.keep_by_best_threshold(known, truth.totals.astype(float), POLICY, seed=1)
    dealt = [truth.shuffle(seed) for seed in range(60)]
    scenes = len(np.unique(truth.scenes[kept])) / len(np.unique(truth.scenes[~truth.useless]))
    assert np.mean([recall(kept, one.hard, one) for one in dealt]) == pytest.approx(scenes, rel=0.1)
    assert f"{SHUFFLED}{OURS}" in found.arms
