"""Whatever annotators do at once: one live lease and one label per task."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadloop_runtime.storage.postgres import Pool

from .conftest import CAR, Office, Somebody, screened

pytestmark = pytest.mark.integration


@dataclass
class Ledger:
    """What annotators were told, to be compared with the promise."""

    leases: dict[str, tuple[str, int, datetime]] = field(default_factory=dict)  # lease -> task, annotator, expiry
    ended: set[str] = field(default_factory=set)
    labelled: Counter[str] = field(default_factory=Counter)

    def check(self, now: datetime) -> None:
        live = [(t, a) for lease, (t, a, end) in self.leases.items() if lease not in self.ended and end > now]
        assert len({task for task, _ in live}) == len(live), "two live leases on one task"
        assert len({annotator for _, annotator in live}) == len(live), "two live leases of one annotator"
        assert max(self.labelled.values(), default=0) <= 1, "two labels on one task"
        assert not {task for task, _ in live} & self.labelled.keys(), "a live lease on a labelled task"


ACTIONS = st.tuples(st.integers(0, 2), st.sampled_from(["take", "take", "submit", "submit twice", "return", "stale"]))
ROUNDS = st.lists(st.tuples(st.lists(ACTIONS, min_size=1, max_size=5), st.sampled_from([0, 300, 700])), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS)
async def test_any_schedule_keeps_one_live_lease_and_one_label_per_task(
    pool: Pool, rounds: list[tuple[list[tuple[int, str]], int]]
) -> None:
    office, ledger = Office(pool), Ledger()
    await office.put(screened("f-1"), screened("f-2"))
    crowd = [await office.enrol() for _ in range(3)]
    newest: dict[int, dict[str, Any]] = {}
    for actions, wait_s in rounds:
        await asyncio.gather(*[act(crowd, newest, ledger, who, what) for who, what in actions])
        ledger.check(office.now)
        office.now += timedelta(seconds=wait_s)
    labels = await office.completed()
    assert Counter(label.task_id for label in labels) == ledger.labelled
    assert (await crowd[0].counts())[2] == len(labels)


async def act(crowd: list[Somebody], newest: dict[int, dict[str, Any]], ledger: Ledger, who: int, what: str) -> None:
    """Let one annotator do one thing, and write down what came of it."""
    task = newest.get((who + 1) % 3 if what == "stale" else who)
    if what == "take":
        if taken := await crowd[who].take():
            newest[who] = taken
            end = datetime.fromisoformat(taken["lease_expires_at"])
            ledger.leases[taken["lease_id"]] = (taken["task_id"], who, end)
    elif task is None:
        return
    elif what == "return":
        if (await crowd[who].give_back(task)).status_code == 204:
            ledger.ended.add(task["lease_id"])
    elif what == "stale":
        assert (await crowd[who].submit(task, CAR)).status_code == 409
    else:
        tries = [crowd[who].submit(task, CAR) for _ in range(2 if what == "submit twice" else 1)]
        saved = [answer.status_code for answer in await asyncio.gather(*tries)]
        assert set(saved) <= {200, 409}
        if 200 in saved and task["lease_id"] not in ledger.ended:
            ledger.ended.add(task["lease_id"])
            ledger.labelled[task["task_id"]] += 1
