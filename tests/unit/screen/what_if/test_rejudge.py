"""History judged anew: the same verdicts without a change, and what a change would have kept."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadloop_runtime.outcome import Emit
from roadloop_runtime.records import Event, Record
from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import VerdictReason
from roadloop_schemas.policies import KeepRule, ScreenPolicy
from screen.handle import Observation, decide
from screen.history.rows import SCHEMA, facts_of_row, row_of
from screen.memory.state import Memory
from screen.vision.detections import Box, Judged, Unjudged
from screen.vision.embedding import pack
from screen.what_if.rejudge import Change, UnknownPolicy, change_policy, rejudge
from screen.what_if.report import TITLES, answer_as_json, make_remarks, rows_of
from tests.builders import NOW, PAIR, make_frame, make_label_box, read_back, receive_unit
from tests.unit.screen.test_candidate import SHADOW, SHARED

SALT = b"a salt of 16 or more"
FIRST = ScreenPolicy(
    version=1,
    threshold=0.5,
    controlled=True,
    audit_share=0.05,
    blur_ratio=0.15,
    duplicate_distance=4,
    duplicate_step=0.6,
    spread=0.5,
    rules=(KeepRule(name="night bus", condition=Condition.NIGHT, class_name="bus", quota=0.02),),
)
SECOND = FIRST.model_copy(update={"version": 2, "weights": {"disagreement": 1}, "slice_budgets": {"night/front": 0.2}})
POLICIES = {("acme", 1): FIRST, ("acme", 2): SECOND}


def seen(number: int, dice: Random) -> tuple[Any, Judged | Unjudged]:
    night = dice.random() < 0.3
    one = make_frame(
        number, dice.getrandbits(64) if dice.random() < 0.8 else 0, Condition.NIGHT if night else Condition.RAIN
    )
    one = one.model_copy(update={"laplacian_variance": dice.choice((100.0, 90.0, 10.0)), "brightness": dice.random()})
    if dice.random() < 0.02:
        return one, Unjudged(VerdictReason.OBJECT_MISSING, "gone")
    places = [sorted((dice.random(), dice.random())) for _ in range(2)]
    boxes = tuple(
        Box(places[0][0], places[1][0], places[0][1], places[1][1], dice.random(), dice.choice(("car", "bus")))
        for _ in range(dice.randint(0, 4))
    )
    embedding = pack(np.array([dice.gauss(0, 1) for _ in range(6)]))
    return one, Judged(boxes, boxes[: dice.randint(0, 4)], embedding)


def on_its_way(looks: Observation, at: float, dice: Random) -> Observation:
    """Return what was seen with a version that is on its way, by how much of the stream is over, 0..1."""
    if at < 0.2:
        return looks
    if at < 0.6:
        trying = replace(looks, serving=SHADOW if at < 0.4 else SHARED)
        if at >= 0.4:
            return replace(trying, by_candidate=dice.random() < 0.5)
        found = tuple(seen(0, dice)[1] for _ in looks.frames)
        return replace(trying, candidate=found) if dice.random() < 0.5 else trying
    version, previous = (4, 3) if at < 0.7 else (3, 4)
    return replace(looks, serving=PAIR.model_copy(update={"version": version, "previous_version": previous}))


def records(
    frames: int, seed: int = 1, *, rolled: bool = True, change: Change = lambda policy: policy
) -> Iterator[Record]:
    """Screen a drawn stream by two policies, one after the other, and return its verdicts as they are read.

    Meanwhile, where it is `rolled` out, a version of the model looks, judges some units, serves, and is rolled back.
    """
    dice, memory, events = Random(seed), Memory(), list[Event]()
    for start in range(0, frames, 8):
        some = [seen(number, dice) for number in range(start, start + 8)]
        policy = change(FIRST if start < frames / 2 else SECOND)
        looks = Observation(receive_unit(*(one for one, _ in some)), PAIR, tuple(found for _, found in some))
        looks = on_its_way(looks, start / frames, dice) if rolled else looks
        memory, outcome = decide(memory, looks, {"acme": policy}, salt=SALT)
        assert isinstance(outcome, Emit)
        events += outcome.events
    for offset, event in enumerate(events):
        yield read_back(event, offset=offset)


def rows(frames: int = 2_400, seed: int = 1, **given: Any) -> list[Mapping[str, Any]]:
    found = (row_of(record) for record in records(frames, seed, **given))
    return [row | {"received_at": round(row["received_at"].timestamp() * 1e6)} for row in found]


ROWS = rows()


def ask(change: Change = lambda policy: policy, **given: Any) -> Any:
    asked = {"tenant": "acme", "since": NOW, "labels": {}} | given
    return rejudge(given.pop("rows", ROWS), POLICIES, change, **{k: v for k, v in asked.items() if k != "rows"})


def test_a_row_has_every_column_and_gives_its_facts_back() -> None:
    assert all(row.keys() == set(SCHEMA.names) for row in ROWS)
    again = [facts_of_row(row) for row in ROWS]
    assert all(facts is not None for facts in again)


def test_without_a_change_todays_verdicts_come_out_bit_for_bit() -> None:
    answer = ask()
    assert (answer.judged, answer.differing, answer.approximate, answer.left_out) == (2_400, 0, 0, 0)
    assert (answer.gained, answer.lost) == ([], [])
    assert {row["model_version"] for row in ROWS} == {3, 4}
    assert any(row["shadow_parts"] for row in ROWS)
    assert {VerdictReason(reason) for row in ROWS for reason in row["reasons"]} > {
        VerdictReason.SCORE,
        VerdictReason.RULE,
        VerdictReason.NEAR_DUPLICATE,
        VerdictReason.BLURRED,
        VerdictReason.OBJECT_MISSING,
    }, "the stream has something of everything"
    for found in answer.slices.values():
        assert found.kept_then == found.kept_now > 0


def test_half_the_budget_keeps_half_as_many_and_says_what_is_approximate() -> None:
    answer = ask(lambda policy: change_policy(policy, keep=0.05, quotas={}), since=NOW)
    now = sum(found.kept_now for found in answer.slices.values())
    then = sum(found.kept_then for found in answer.slices.values())
    assert then < 0.85 * now, "the audit and the rules stay"
    assert 0 < answer.approximate < answer.judged
    assert answer.lost
    assert answer.first_differing
    assert "(--exact compares pictures anew)" in make_remarks(answer)


def test_a_quota_gives_one_slice_more() -> None:
    calm = rows(rolled=False)  # a slice has a threshold of its own from 200 scores of a version on
    before, after = ask(rows=calm), ask(lambda policy: change_policy(policy, quotas={"night": "3x"}), rows=calm)
    assert after.slices["night/front"].kept_then > 1.3 * before.slices["night/front"].kept_now
    assert after.gained


def test_pictures_compared_anew_give_todays_verdicts_bit_for_bit() -> None:
    answer = ask(exact=True)
    assert (answer.judged, answer.differing, answer.approximate) == (2_400, 0, 0)
    likenesses = {"nearest_bits", "nearest_step", "nearest_cosine", "light_change", "new_object"}
    assert all(any(row[name] for row in ROWS) for name in likenesses), "there is something to compare"
    forgotten = [{**row, **dict.fromkeys(likenesses)} for row in ROWS]
    assert ask(rows=forgotten, exact=True).differing == 0, "nothing of that is taken from the record"
    assert ask(rows=forgotten).differing > 100


@given(st.integers(0, 1_000), st.sampled_from((0.02, 0.05, 0.2, 0.5)), st.sampled_from(("0.5x", "3x", "0")))
@settings(max_examples=4)
def test_an_exact_answer_is_what_a_worker_would_have_decided(seed: int, keep: float, night: str) -> None:
    change = partial(change_policy, keep=keep, quotas={"night": night})
    then = rows(640, seed, change=change)
    decided = ("verdict", "reasons", "threshold")
    now = [row | {name: other[name] for name in decided} for row, other in zip(rows(640, seed), then, strict=True)]
    assert ask(change, rows=now, exact=True).differing == 0
    assert ask(change, rows=now).differing > 0, "recorded likenesses are those to what was kept then"


def test_what_is_older_than_what_pictures_are_compared_by_is_judged_as_recorded() -> None:
    older = {"dhash": None, "surely": None, "perhaps": None, "embedding": None}
    answer = ask(rows=[{**row, **older} for row in ROWS[:300]], exact=True)
    assert (answer.judged, answer.approximate, answer.differing) == (300, 300, 0)
    assert "300 of 300 are approximate" in make_remarks(answer)
    assert "from before verdicts carried what pictures are compared by" in make_remarks(answer)


def test_only_what_came_since_counts_and_only_of_the_tenant() -> None:
    assert ask(since=NOW + timedelta(seconds=1)).judged == 0
    assert ask(tenant="other").judged == 0
    old = [{**row, "lot": None} for row in ROWS[:10]]
    answer = ask(rows=old)
    assert (answer.judged, answer.left_out) == (0, 10)


def test_a_policy_that_history_does_not_know_is_named() -> None:
    with pytest.raises(UnknownPolicy, match="no version 9 of the policy of tenant acme"):
        ask(rows=[{**ROWS[0], "policy_version": 9}])
    assert ask(rows=[{**ROWS[0], "policy_version": 0}]).judged == 1


def test_hard_frames_of_the_audit_say_what_is_missed() -> None:
    audited = [row for row in ROWS if row["audit"]]
    car = make_label_box(x1=0.001, y1=0.001, x2=0.002, y2=0.002)
    answer = ask(labels={row["frame_id"]: (car,) for row in audited})
    hard = sum(found.hard for found in answer.slices.values())
    assert hard == len(audited), "nobody saw a car that small"
    missed = sum(found.hard - found.found_now for found in answer.slices.values())
    assert missed == sum(row["reasons"] == ["audit"] for row in audited) > 0
    assert sum(found.found_then for found in answer.slices.values()) == hard - missed


@pytest.mark.parametrize(
    ("keep", "quotas", "budgets"),
    [
        pytest.param(None, {}, {"night/front": 0.2}, id="nothing"),
        pytest.param(0.05, {}, {"night/front": 0.1}, id="slices-go-along"),
        pytest.param(None, {"night": "2x"}, {"night/front": 0.4, "night": 0.2}, id="twice-of-what-they-have"),
        pytest.param(None, {"night/front": "0.3"}, {"night/front": 0.3}, id="a-share"),
        pytest.param(None, {"rain": "0.5x"}, {"night/front": 0.2, "rain": 0.05}, id="half-of-the-keep-budget"),
        pytest.param(0.2, {"night": "9x"}, {"night/front": 1.0, "night": 1.0}, id="never-more-than-all"),
    ],
)
def test_changed_policies(keep: float | None, quotas: dict[str, str], budgets: dict[str, float]) -> None:
    changed = change_policy(SECOND, keep=keep, quotas=quotas)
    assert changed.slice_budgets == pytest.approx(budgets)
    assert changed.keep_budget == (keep or SECOND.keep_budget)


@pytest.mark.parametrize("quota", ["", "x", "many", "1.5", "-1", "-1x", "nan", "nanx"])
def test_a_quota_that_is_none_is_refused(quota: str) -> None:
    with pytest.raises(ValueError, match="is no quota: give a share such as"):
        change_policy(SECOND, quotas={"night": quota})


@given(st.integers(0, 800))
def test_partitions_add_up(cut: int) -> None:
    whole, parts = ask(rows=ROWS[:800]), ask(rows=ROWS[:cut])
    parts.add(ask(rows=ROWS[cut:800]))
    assert parts.judged == whole.judged
    assert sum(f.seen for f in parts.slices.values()) == sum(f.seen for f in whole.slices.values())


def test_the_answer_is_told() -> None:
    answer = ask(lambda policy: change_policy(policy, keep=0.05, quotas={}))
    told = rows_of(answer)
    assert [row[0] for row in told] == ["night/front", "rain/front", "(all)"]
    assert all(len(row) == len(TITLES) for row in told)
    assert [int(told[-1][column]) for column in (1, 2, 3)] == [
        sum(int(row[column]) for row in told[:-1]) for column in (1, 2, 3)
    ]
    assert f"{answer.differing} of 2400 verdicts differ from the recorded ones, the first one of f-" in make_remarks(
        answer
    )
    assert answer_as_json(answer)["slices"]["rain/front"]["label_seconds_now"] > 0
