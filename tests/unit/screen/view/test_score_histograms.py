"""Scores by slice and hour: each verdict once, a day long, of one scale; and who may move budgets."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.score import scale_of
from screen.state_topics.policy_topic import Change
from screen.view.score_histograms import HOURS, Hours, add_up_scores, move_budgets, take
from tests.builders import NOW, make_verdict

POLICY = ScreenPolicy(version=7, threshold=0.5, controlled=True, audit_share=0, slice_range=(0.02, 0.6))


def told(number: int, slice_name: str = "rain/front", hour: int = 0, score: float = 0.6) -> FrameScreened:
    return make_verdict(frame_id=f"f-{number}", slice=slice_name, received_at=NOW + timedelta(hours=hour), score=score)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=40), st.integers(0, 40))
def test_a_replay_after_a_crash_adds_nothing_twice(came: list[tuple[int, int]], again_from: int) -> None:
    once, twice = new_table(), new_table()
    offsets = list(enumerate(came))
    for offset, (partition, hour) in offsets:
        take(once, partition, offset, "acme", told(offset, hour=hour))
    for offset, (partition, hour) in [*offsets, *offsets[again_from:]]:
        take(twice, partition, offset, "acme", told(offset, hour=hour))
    assert once == twice
    assert sum(scores.seen for scores in add_up_scores(once, "acme", "").values()) == len(came)


def new_table() -> Hours:
    return {}


def test_only_the_last_day_counts_and_older_hours_go() -> None:
    table = new_table()
    for number, hour in enumerate((0, 1, HOURS, HOURS + 1)):
        take(table, 0, number, "acme", told(number, hour=hour))
    take(table, 1, 0, "acme", told(9, hour=0))
    assert len(table) == 3, "partition 1 has an hour that only newer ones of its own push out"
    assert add_up_scores(table, "acme", "")["rain/front"].seen == 2


def test_slices_are_added_up_over_partitions_and_tenants_and_scales_apart() -> None:
    table = new_table()
    for partition in range(3):
        take(table, partition, 0, "acme", told(partition))
        take(table, partition, 1, "acme", told(10 + partition, "night/front"))
        take(table, partition, 2, "other", told(20 + partition))
    take(table, 0, 3, "acme", told(30).model_copy(update={"score_scale": "newer"}))
    assert {name: found.seen for name, found in add_up_scores(table, "acme", "").items()} == {
        "rain/front": 2,
        "night/front": 3,
    }
    assert {name: found.seen for name, found in add_up_scores(table, "acme", "newer").items()} == {"rain/front": 1}


@pytest.mark.parametrize(
    ("policy", "asked"),
    [
        pytest.param(POLICY, True, id="a-policy-that-lets-them-move"),
        pytest.param(POLICY.model_copy(update={"slice_range": None}), False, id="one-that-does-not"),
        pytest.param(POLICY.model_copy(update={"weights": {"crowd": 1}}), False, id="one-of-another-scale"),
    ],
)
async def test_budgets_move_through_a_policy(policy: ScreenPolicy, asked: bool) -> None:
    table, written = new_table(), list[ScreenPolicy]()
    for number in range(1_000):
        name, score = ("night/front", 0.9) if number % 5 == 0 else ("clear/front", 0.1)
        take(table, number % 6, number, "acme", told(number, name, score=score))

    async def publish(tenant: str, change: Change) -> int:
        assert tenant == "acme"
        changed = change(policy)
        assert changed
        written.append(changed)
        return changed.version

    await move_budgets(table, {"acme": policy}, publish)
    assert bool(written) is asked
    for after in written:
        assert after.slice_budgets == {"clear/front": 0.02, "night/front": pytest.approx(0.42, abs=0.01)}
        assert scale_of(after) == scale_of(policy)
        await move_budgets(table, {"acme": after}, publish)
        assert len(written) == 1, "what has moved stays"
