"""Tasks, leases and labels on a real Postgres; the whole service once, on Kafka and S3 too."""

import asyncio
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from label_router import annotator_table, queue_table, task_table
from label_router.annotator_table import Annotator
from label_router.completion import COMPLETED
from label_router.handle import NewTask, Policy, queue_of
from label_router.http import Desk, make_app
from roadloop_local.addresses import Stack
from roadloop_local.postgres import make_role
from roadloop_runtime import admin, cli, migrations
from roadloop_runtime.kafka_read import read_partition
from roadloop_runtime.objects import open_store
from roadloop_runtime.postgres import Pool, open_pool
from roadloop_runtime.records import Partition, event
from roadloop_schemas.cloudevents import derive_id, from_headers
from roadloop_schemas.fields import Detection, LabelBox, ObjectRef
from roadloop_schemas.frames import FrameScreened, SliceCounters, Verdict, VerdictReason
from roadloop_schemas.labels import LabelCompleted, LabelSource

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
LEASE_S = 600.0
CAR = {"class_name": "car", "x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 0.4}
SEEN = (
    Detection(class_name="car", x1=0.1, y1=0.2, x2=0.3, y2=0.4, score=0.8),
    Detection(class_name="bus", x1=0.5, y1=0.2, x2=0.9, y2=0.4, score=0.1),
)


def screened(frame_id: str, *, picture: ObjectRef | None = None, **changes: Any) -> FrameScreened:
    """Return the verdict on a frame that was kept, unless `changes` say otherwise."""
    verdict = FrameScreened(
        frame_id=frame_id,
        unit_id="u-1",
        upload_id="up-1",
        vehicle="v-1",
        drive="d-1",
        object=picture or ObjectRef(uri=f"s3://uploads/{frame_id}.jpg", sha256="0" * 64, size_bytes=10),
        captured_at=START,
        received_at=START,
        width_px=640,
        height_px=480,
        verdict=Verdict.KEPT,
        reasons=(VerdictReason.SCORE,),
        detail="a NUL \x00 must not stop a partition",
        slice="clear/front",
        policy_version=1,
        threshold=0.5,
        inclusion_probability=0.25,
        counters=SliceCounters(seen=1, kept=1, dropped=0, quarantined=0),
        detections=SEEN,
    )
    return verdict.model_copy(update=changes)


@pytest.fixture(scope="module")
def dsn(stack: Stack) -> Iterator[str]:
    """A role with a schema of its own, as the service has it, migrated."""
    role, password = f"label_router_{secrets.token_hex(4)}", secrets.token_hex(8)

    async def as_admin(work: "Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[object]]") -> None:
        connection = await asyncpg.connect(stack.postgres_dsn())
        await work(connection)
        await connection.close()

    asyncio.run(as_admin(lambda connection: make_role(connection, role, password)))
    mine = f"postgresql://{role}:{password}@{stack.postgres_dsn().partition('@')[2]}"
    migrations.upgrade("label_router", mine)
    migrations.upgrade("label_router", mine)
    yield mine
    asyncio.run(as_admin(lambda connection: connection.execute(f"drop owned by {role} cascade; drop role {role}")))


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with await open_pool(dsn, name="test-label-router") as pool:
        yield pool


@dataclass
class Somebody:
    """An annotator at the counter."""

    annotator: Annotator
    client: httpx.AsyncClient
    token: str

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.client.post(path, json=body, headers={"Authorization": f"Bearer {self.token}"})

    async def take(self) -> dict[str, Any]:
        answer = await self.post("/v1/tasks/next")
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.status_code == 200 else {}

    async def submit(self, task: dict[str, Any], *boxes: object, lead_time_s: float = 3) -> httpx.Response:
        body = {"lease_id": task["lease_id"], "boxes": boxes, "lead_time_s": lead_time_s}
        return await self.post(f"/v1/tasks/{task['task_id']}/submit", body)

    async def give_back(self, task: dict[str, Any]) -> httpx.Response:
        return await self.post(f"/v1/tasks/{task['task_id']}/return", {"lease_id": task["lease_id"]})

    async def counts(self) -> tuple[int, int, int]:
        answer = await self.client.get("/v1/queue", headers={"Authorization": f"Bearer {self.token}"})
        found = answer.json()
        assert found["queue"] == queue_of(self.annotator.tenant)
        return found["waiting"], found["leased"], found["done"]


@dataclass
class Counter_:
    """The service's HTTP in this process, over a clock that a test turns."""

    pool: Pool
    now: datetime = START
    tenant: str = field(default_factory=lambda: f"t-{secrets.token_hex(6)}")

    def __post_init__(self) -> None:
        desk = Desk(self.pool, lambda: self.now, lambda picture: f"signed:{picture.key}", LEASE_S, Policy())
        transport = httpx.ASGITransport(make_app(desk), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://label-router")

    async def put(self, *verdicts: FrameScreened, tenant: str = "") -> None:
        owner = tenant or self.tenant
        tasks = [
            NewTask(derive_id("task", owner, verdict.frame_id), owner, queue_of(owner), verdict, START)
            for verdict in verdicts
        ]
        async with self.pool.acquire() as connection:
            await task_table.store(connection, tasks)

    async def enrol(self, tenant: str = "") -> Somebody:
        annotator = Annotator(annotator_table.new_annotator_id(), tenant or self.tenant)
        token = annotator_table.new_token()
        async with self.pool.acquire() as connection:
            await annotator_table.enrol(connection, annotator, "Ann", token=token, now=self.now)
        return Somebody(annotator, self.client, token)

    async def completed(self) -> list[LabelCompleted]:
        """Return what the outbox says of this tenant's labels."""
        rows = await self.pool.fetch("select value, header_names, header_values from outbox where topic = $1", COMPLETED)
        headers = [tuple(zip(row["header_names"], row["header_values"], strict=True)) for row in rows]
        return [
            LabelCompleted.model_validate_json(row["value"])
            for row, written in zip(rows, headers, strict=True)
            if from_headers(written).tenant == self.tenant
        ]


@pytest.fixture
def counter(pool: Pool) -> Counter_:
    return Counter_(pool)


def refused(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Return a problem, after checking that it is one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"/problems/{kind}")
    assert problem["title"]
    assert problem["detail"]
    return problem


async def test_a_task_says_what_to_label_and_not_why(counter: Counter_) -> None:
    await counter.put(screened("f-1"), screened("f-2", audit=True, reasons=(VerdictReason.AUDIT,)))
    ann, ben = await counter.enrol(), await counter.enrol()
    task, audit = await ann.take(), await ben.take()
    assert task == {
        "task_id": derive_id("task", counter.tenant, "f-1"),
        "lease_id": task["lease_id"],
        "lease_expires_at": "2026-03-01T08:10:00Z",
        "frame_id": "f-1",
        "picture_url": "signed:f-1.jpg",
        "width_px": 640,
        "height_px": 480,
        "classes": [],
        "prelabels": [CAR | {"score": 0.8}],
    }
    assert audit["prelabels"] == []
    assert audit.keys() == task.keys()
    assert "audit" not in json.dumps(audit)


async def test_nothing_waits(counter: Counter_) -> None:
    assert await (await counter.enrol()).take() == {}


async def test_twenty_annotators_never_hold_one_task(counter: Counter_) -> None:
    await counter.put(*[screened(f"f-{n}") for n in range(15)])
    crowd = [await counter.enrol() for _ in range(20)]
    tasks = await asyncio.gather(*[one.take() for one in crowd])
    assert Counter(task.get("frame_id") for task in tasks) == Counter([*[f"f-{n}" for n in range(15)], *[None] * 5])
    assert await crowd[0].counts() == (0, 15, 0)


async def test_who_asks_again_gets_the_same_task_even_at_once(counter: Counter_) -> None:
    await counter.put(screened("f-1"), screened("f-2"))
    ann = await counter.enrol()
    first, *again = await asyncio.gather(*[ann.take() for _ in range(8)])
    assert again == [first] * 7


async def test_an_expired_lease_moves_on_and_holds_nothing(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    ann, ben = await counter.enrol(), await counter.enrol()
    late = await ann.take()
    assert await ben.take() == {}
    counter.now += timedelta(seconds=LEASE_S)
    refused(await ann.submit(late, CAR), 409, "lease-gone")
    taken = await ben.take()
    assert taken["task_id"] == late["task_id"]
    assert taken["lease_id"] != late["lease_id"]
    refused(await ann.submit(late, CAR), 409, "lease-gone")
    refused(await ann.submit(taken, CAR), 409, "lease-gone")
    assert (await ben.submit(taken, CAR)).status_code == 200
    refused(await ann.submit(late, CAR), 409, "already-labelled")
    assert await ben.counts() == (0, 0, 1)


async def test_a_returned_task_waits_behind_the_others(counter: Counter_) -> None:
    await counter.put(screened("f-1"), screened("f-2"))
    ann = await counter.enrol()
    first = await ann.take()
    assert (await ann.give_back(first)).status_code == 204
    refused(await ann.give_back(first), 409, "lease-gone")
    refused(await ann.submit(first), 409, "lease-gone")
    second = await ann.take()
    assert second["frame_id"] == "f-2"
    assert (await ann.submit(second)).status_code == 200
    assert (await ann.take())["frame_id"] == "f-1"


@pytest.mark.parametrize(("audit", "source"), [(True, LabelSource.AUDIT), (False, LabelSource.CHOSEN)])
async def test_a_label_is_announced_with_all_that_is_known(
    counter: Counter_, audit: bool, source: LabelSource
) -> None:
    await counter.put(screened("f-1", audit=audit))
    ann = await counter.enrol()
    task = await ann.take()
    counter.now += timedelta(seconds=20)
    answer = await ann.submit(task, CAR)
    assert answer.json() == {"task_id": task["task_id"], "label_version": 1, "completed_at": "2026-03-01T08:00:20Z"}
    assert await counter.completed() == [
        LabelCompleted(
            task_id=task["task_id"],
            frame_id="f-1",
            upload_id="up-1",
            vehicle="v-1",
            drive="d-1",
            object=screened("f-1").object,
            slice="clear/front",
            label_version=1,
            boxes=(LabelBox(**CAR),),
            annotator=ann.annotator.annotator_id,
            source=source,
            inclusion_probability=0.25,
            captured_at=START,
            completed_at=START + timedelta(seconds=20),
            lead_time_s=3,
        )
    ]


async def test_the_same_submission_many_times_at_once_is_one_label(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    ann = await counter.enrol()
    task = await ann.take()
    answers = await asyncio.gather(*[ann.submit(task, CAR, lead_time_s=n) for n in range(8)])
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, answers[0].json())] * 8
    counter.now += timedelta(days=1)
    assert (await ann.submit(task, CAR)).json() == answers[0].json()
    refused(await ann.submit(task), 409, "already-labelled")
    assert len(await counter.completed()) == 1
    assert await counter.pool.fetchval("select count(*) from labels where task_id = $1", task["task_id"]) == 1


async def test_no_boxes_is_a_label(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    ann = await counter.enrol()
    assert (await ann.submit(await ann.take())).status_code == 200
    assert [label.boxes for label in await counter.completed()] == [()]


async def test_another_tenant_sees_nothing(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    ann, eve = await counter.enrol(), await counter.enrol("elsewhere")
    assert await eve.take() == {}
    task = await ann.take()
    refused(await eve.submit(task, CAR), 404, "no-such-task")
    refused(await eve.give_back(task), 404, "no-such-task")
    assert await eve.counts() == (0, 0, 0)
    assert await ann.counts() == (0, 1, 0)


async def test_a_frame_has_one_task_whatever_comes_twice(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    await counter.put(screened("f-1", width_px=1))
    ann = await counter.enrol()
    assert (await ann.take())["width_px"] == 640
    assert await ann.counts() == (0, 1, 0)


async def test_classes_are_told_and_asked_for(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    async with counter.pool.acquire() as connection:
        await queue_table.set_classes(connection, counter.tenant, ("truck", "bus"))
    ann = await counter.enrol()
    task = await ann.take()
    assert (task["classes"], task["prelabels"]) == (["truck", "bus"], [])
    problem = refused(await ann.submit(task, CAR | {"class_name": "bus"}, CAR), 422, "invalid-submission")
    assert (problem["box"], problem["field"]) == (2, "class_name")
    assert problem["remedy"] == "use one of: truck, bus"
    assert await counter.completed() == []
    assert (await ann.submit(task, CAR | {"class_name": "bus"})).status_code == 200


async def test_what_cannot_be_is_refused_with_a_reason(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    ann = await counter.enrol()
    task = await ann.take()
    problem = refused(await ann.submit(task, CAR | {"x2": 1.2}), 422, "invalid-submission")
    assert (problem["box"], problem["field"]) == (1, "x2")
    refused(await ann.submit(task | {"task_id": "nope"}), 404, "no-such-task")
    refused(await ann.submit(task | {"task_id": "%00"}), 404, "no-such-task")
    refused(await ann.submit(task, "x" * 70_000), 413, "body-too-large")
    refused(await ann.post("/v1/elsewhere"), 404, "not-found")
    refused(await ann.client.get("/v1/tasks/next"), 405, "method-not-allowed")
    assert (await ann.submit(task, CAR)).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer rl_wrong", "Basic abc", "Bearer \u00e9"])
async def test_without_a_token_nothing_is_said(counter: Counter_, header: str) -> None:
    answer = await counter.client.post("/v1/tasks/next", headers={"Authorization": header.encode()})
    refused(answer, 401, "unauthorised")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_is_kept_as_a_hash_and_can_be_revoked(counter: Counter_) -> None:
    await counter.put(screened("f-1"))
    ann = await counter.enrol()
    task = await ann.take()
    kept = await counter.pool.fetchval(
        "select token_sha256 from annotators where annotator_id = $1", ann.annotator.annotator_id
    )
    assert kept == hashlib.sha256(ann.token.encode()).digest()
    async with counter.pool.acquire() as connection:
        assert await annotator_table.revoke(connection, ann.annotator.annotator_id, now=counter.now)
        assert not await annotator_table.revoke(connection, "nobody", now=counter.now)
    refused(await ann.submit(task, CAR), 401, "unauthorised")


async def test_a_database_that_is_away_is_said_to_be_away(counter: Counter_) -> None:
    ann = await counter.enrol()
    await counter.pool.close()
    answer = await ann.post("/v1/tasks/next")
    refused(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "2"


# --- any schedule ----------------------------------------------------------------------------------------------


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
        assert not live or max(self.labelled.values(), default=0) <= 1, "two labels on one task"
        assert not {task for task, _ in live} & self.labelled.keys(), "a live lease on a labelled task"


ACTIONS = st.tuples(st.integers(0, 2), st.sampled_from(["take", "take", "submit", "submit twice", "return", "stale"]))
ROUNDS = st.lists(st.tuples(st.lists(ACTIONS, min_size=1, max_size=5), st.sampled_from([0, 300, 700])), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS)
async def test_any_schedule_keeps_one_live_lease_and_one_label_per_task(
    pool: Pool, rounds: list[tuple[list[tuple[int, str]], int]]
) -> None:
    counter, ledger = Counter_(pool), Ledger()
    await counter.put(screened("f-1"), screened("f-2"))
    crowd = [await counter.enrol() for _ in range(3)]
    newest: dict[int, dict[str, Any]] = {}
    for actions, wait_s in rounds:
        await asyncio.gather(*[act(crowd, newest, ledger, who, what) for who, what in actions])
        ledger.check(counter.now)
        counter.now += timedelta(seconds=wait_s)
    labels = await counter.completed()
    assert Counter(label.task_id for label in labels) == ledger.labelled
    assert (await crowd[0].counts())[2] == len(labels)


async def act(
    crowd: list[Somebody], newest: dict[int, dict[str, Any]], ledger: Ledger, who: int, what: str
) -> None:
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
        refused_status = (await crowd[who].submit(task, CAR)).status_code
        assert refused_status == 409
    else:
        tries = [crowd[who].submit(task, CAR) for _ in range(2 if what == "submit twice" else 1)]
        saved = [answer.status_code for answer in await asyncio.gather(*tries)]
        assert set(saved) <= {200, 409}
        if 200 in saved and task["lease_id"] not in ledger.ended:
            ledger.ended.add(task["lease_id"])
            ledger.labelled[task["task_id"]] += 1


# --- commands --------------------------------------------------------------------------------------------------


def roadloop(*arguments: str, dsn: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from roadloop_runtime.cli import main; main()", *arguments],
        env=os.environ | {"ROADLOOP_POSTGRES_DSN": dsn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
