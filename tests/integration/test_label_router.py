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
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import typer
from aiokafka import AIOKafkaProducer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from label_router import annotator_table, queue_table, task_table
from label_router.annotator_table import Annotator
from label_router.commands import register
from label_router.completion import COMPLETED
from label_router.handle import REQUESTED, NewTask, Policy, queue_of
from label_router.http import Dependencies, make_app
from roadloop_local.addresses import Stack
from roadloop_local.servers.postgres_setup import make_role
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition, to_cloud_event
from roadloop_runtime.storage import migrations
from roadloop_runtime.storage.objects import open_store
from roadloop_runtime.storage.postgres import Pool, open_pool
from roadloop_schemas.cloudevents import derive_id, from_headers
from roadloop_schemas.fields import Detection, LabelBox, ObjectRef
from roadloop_schemas.frames import FrameScreened, SliceCounters, Verdict, VerdictReason
from roadloop_schemas.labels import LabelCompleted, LabelSource
from tests.waiting import GUARD_S, eventually

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
    """An annotator at the desk."""

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
class Office:
    """The service's HTTP in this process, over a clock that a test turns."""

    pool: Pool
    now: datetime = START
    tenant: str = field(default_factory=lambda: f"t-{secrets.token_hex(6)}")

    def __post_init__(self) -> None:
        needs = Dependencies(self.pool, lambda: self.now, lambda picture: f"signed:{picture.key}", LEASE_S, Policy())
        transport = httpx.ASGITransport(make_app(needs), raise_app_exceptions=False)
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
        rows = await self.pool.fetch(
            "select value, header_names, header_values from outbox where topic = $1", COMPLETED
        )
        named = [[name.decode() for name in row["header_names"]] for row in rows]
        headers = [tuple(zip(names, row["header_values"], strict=True)) for names, row in zip(named, rows, strict=True)]
        return [
            LabelCompleted.model_validate_json(row["value"])
            for row, header in zip(rows, headers, strict=True)
            if from_headers(header).tenant == self.tenant
        ]


@pytest.fixture
def office(pool: Pool) -> Office:
    return Office(pool)


def refused(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Return a problem, after checking that it is one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"/problems/{kind}")
    assert problem["title"]
    assert problem["detail"]
    return problem


async def test_a_task_says_what_to_label_and_not_why(office: Office) -> None:
    await office.put(screened("f-1"), screened("f-2", audit=True, reasons=(VerdictReason.AUDIT,)))
    ann, ben = await office.enrol(), await office.enrol()
    task, audit = await ann.take(), await ben.take()
    assert task == {
        "task_id": derive_id("task", office.tenant, "f-1"),
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


async def test_nothing_waits(office: Office) -> None:
    assert await (await office.enrol()).take() == {}


async def test_twenty_annotators_never_hold_one_task(office: Office) -> None:
    await office.put(*[screened(f"f-{n}") for n in range(15)])
    crowd = [await office.enrol() for _ in range(20)]
    tasks = await asyncio.gather(*[one.take() for one in crowd])
    assert Counter(task.get("frame_id") for task in tasks) == Counter([*[f"f-{n}" for n in range(15)], *[None] * 5])
    assert await crowd[0].counts() == (0, 15, 0)


async def test_who_asks_again_gets_the_same_task_even_at_once(office: Office) -> None:
    await office.put(screened("f-1"), screened("f-2"))
    ann = await office.enrol()
    first, *again = await asyncio.gather(*[ann.take() for _ in range(8)])
    assert again == [first] * 7


async def test_who_asks_while_handing_in_gets_the_next_task(office: Office) -> None:
    await office.put(screened("f-1"), screened("f-2"))
    ann = await office.enrol()
    task = await ann.take()

    async def waits_for_the_lock() -> bool:
        blocked = "select count(*) from pg_locks where not granted and pid <> pg_backend_pid()"
        return bool(await office.pool.fetchval(blocked))

    async with office.pool.acquire() as connection, connection.transaction():
        await task_table.mark_done(connection, task["task_id"])
        asking = asyncio.create_task(ann.take())
        await eventually("the question waits", waits_for_the_lock)
    assert (await asking)["frame_id"] == "f-2"


async def test_an_expired_lease_moves_on_and_holds_nothing(office: Office) -> None:
    await office.put(screened("f-1"))
    ann, ben = await office.enrol(), await office.enrol()
    late = await ann.take()
    assert await ben.take() == {}
    office.now += timedelta(seconds=LEASE_S)
    refused(await ann.submit(late, CAR), 409, "lease-gone")
    taken = await ben.take()
    assert taken["task_id"] == late["task_id"]
    assert taken["lease_id"] != late["lease_id"]
    refused(await ann.submit(late, CAR), 409, "lease-gone")
    refused(await ann.submit(taken, CAR), 409, "lease-gone")
    assert (await ben.submit(taken, CAR)).status_code == 200
    refused(await ann.submit(late, CAR), 409, "already-labelled")
    assert await ben.counts() == (0, 0, 1)


async def test_a_returned_task_waits_behind_the_others(office: Office) -> None:
    await office.put(screened("f-1"), screened("f-2"))
    ann = await office.enrol()
    first = await ann.take()
    assert (await ann.give_back(first)).status_code == 204
    refused(await ann.give_back(first), 409, "lease-gone")
    refused(await ann.submit(first), 409, "lease-gone")
    second = await ann.take()
    assert second["frame_id"] == "f-2"
    assert (await ann.submit(second)).status_code == 200
    assert (await ann.take())["frame_id"] == "f-1"


@pytest.mark.parametrize(("audit", "source"), [(True, LabelSource.AUDIT), (False, LabelSource.CHOSEN)])
async def test_a_label_is_announced_with_all_that_is_known(office: Office, audit: bool, source: LabelSource) -> None:
    await office.put(screened("f-1", audit=audit))
    ann = await office.enrol()
    task = await ann.take()
    office.now += timedelta(seconds=20)
    answer = await ann.submit(task, CAR)
    assert answer.json() == {"task_id": task["task_id"], "label_version": 1, "completed_at": "2026-03-01T08:00:20Z"}
    assert await office.completed() == [
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


async def test_the_same_submission_many_times_at_once_is_one_label(office: Office) -> None:
    await office.put(screened("f-1"))
    ann = await office.enrol()
    task = await ann.take()
    answers = await asyncio.gather(*[ann.submit(task, CAR, lead_time_s=n) for n in range(8)])
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, answers[0].json())] * 8
    office.now += timedelta(days=1)
    assert (await ann.submit(task, CAR)).json() == answers[0].json()
    refused(await ann.submit(task), 409, "already-labelled")
    assert len(await office.completed()) == 1
    assert await office.pool.fetchval("select count(*) from labels where task_id = $1", task["task_id"]) == 1


async def test_no_boxes_is_a_label(office: Office) -> None:
    await office.put(screened("f-1"))
    ann = await office.enrol()
    assert (await ann.submit(await ann.take())).status_code == 200
    assert [label.boxes for label in await office.completed()] == [()]


async def test_another_tenant_sees_nothing(office: Office) -> None:
    await office.put(screened("f-1"))
    ann, eve = await office.enrol(), await office.enrol("elsewhere")
    assert await eve.take() == {}
    task = await ann.take()
    refused(await eve.submit(task, CAR), 404, "no-such-task")
    refused(await eve.give_back(task), 404, "no-such-task")
    assert await eve.counts() == (0, 0, 0)
    assert await ann.counts() == (0, 1, 0)


async def test_a_frame_has_one_task_whatever_comes_twice(office: Office) -> None:
    await office.put(screened("f-1"))
    await office.put(screened("f-1", width_px=1))
    ann = await office.enrol()
    assert (await ann.take())["width_px"] == 640
    assert await ann.counts() == (0, 1, 0)


async def test_classes_are_told_and_asked_for(office: Office) -> None:
    await office.put(screened("f-1"))
    async with office.pool.acquire() as connection:
        await queue_table.set_classes(connection, office.tenant, ("truck", "bus"))
    ann = await office.enrol()
    task = await ann.take()
    assert (task["classes"], task["prelabels"]) == (["truck", "bus"], [])
    problem = refused(await ann.submit(task, CAR | {"class_name": "bus"}, CAR), 422, "invalid-submission")
    assert (problem["box"], problem["field"]) == (2, "class_name")
    assert problem["remedy"] == "use one of: truck, bus"
    assert await office.completed() == []
    assert (await ann.submit(task, CAR | {"class_name": "bus"})).status_code == 200


async def test_what_cannot_be_is_refused_with_a_reason(office: Office) -> None:
    await office.put(screened("f-1"))
    ann = await office.enrol()
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
async def test_without_a_token_nothing_is_said(office: Office, header: str) -> None:
    answer = await office.client.post("/v1/tasks/next", headers=[(b"Authorization", header.encode())])
    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_is_kept_as_a_hash_and_can_be_revoked(office: Office) -> None:
    await office.put(screened("f-1"))
    ann = await office.enrol()
    task = await ann.take()
    kept = await office.pool.fetchval(
        "select token_sha256 from annotators where annotator_id = $1", ann.annotator.annotator_id
    )
    assert kept == hashlib.sha256(ann.token.encode()).digest()
    async with office.pool.acquire() as connection:
        assert await annotator_table.revoke(connection, ann.annotator.annotator_id, now=office.now)
        assert not await annotator_table.revoke(connection, "nobody", now=office.now)
    refused(await ann.submit(task, CAR), 401, "unauthenticated")


async def test_the_api_describes_itself(office: Office) -> None:
    described = (await office.client.get("/openapi.json")).json()
    assert sorted(described["paths"]) == [
        "/v1/queue",
        "/v1/tasks/next",
        "/v1/tasks/{task_id}/return",
        "/v1/tasks/{task_id}/submit",
    ]
    submit = described["paths"]["/v1/tasks/{task_id}/submit"]["post"]
    assert submit["security"] == [{"HTTPBearer": []}]
    assert submit["requestBody"]["content"]["application/json"]["schema"]["properties"]["boxes"]["maxItems"] == 500


async def test_a_database_that_is_away_is_said_to_be_away(office: Office) -> None:
    ann = await office.enrol()
    await office.pool.close()
    answer = await ann.post("/v1/tasks/next")
    refused(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "3"


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


# --- commands --------------------------------------------------------------------------------------------------


def roadloop(dsn: str, *arguments: str, exit_code: int = 0) -> Result:
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, [*arguments, "--postgres", dsn])
    assert done.exit_code == exit_code, done.output
    return done


def test_annotators_are_enrolled_listed_and_revoked(dsn: str) -> None:
    tenant = f"t-{secrets.token_hex(6)}"
    token = roadloop(dsn, "annotators", "enrol", "--tenant", tenant, "--name", "安 Ann").stdout.strip()
    assert len(token) == 46
    listed = json.loads(roadloop(dsn, "annotators", "list", "--json").stdout)
    assert token not in str(listed)
    (mine,) = [entry for entry in listed if entry["tenant"] == tenant]
    assert (mine["name"], mine["revoked_at"]) == ("安 Ann", None)
    roadloop(dsn, "annotators", "revoke", mine["annotator_id"])
    assert f"{tenant}  " in roadloop(dsn, "annotators", "list").stdout
    assert "there is no annotator nobody" in roadloop(dsn, "annotators", "revoke", "nobody", exit_code=1).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("annotators", "enrol", "--tenant", "No Tenant", "--name", "Ann"), id="no tenant"),
        pytest.param(("annotators", "enrol", "--tenant", "acme", "--name", "\x07"), id="no name"),
        pytest.param(("queues", "set", "--tenant", "acme", "--classes", "car,,bus"), id="an empty class"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(arguments: tuple[str, ...]) -> None:
    roadloop("postgresql://nobody@127.0.0.1:1/none", *arguments, exit_code=2)


def test_a_command_says_in_one_line_that_postgres_is_away() -> None:
    said = roadloop("postgresql://nobody@127.0.0.1:1/none", "annotators", "list", exit_code=1).stderr
    assert said.startswith("Postgres refused (ConnectionRefusedError")
    assert said.count("\n") == 1


async def test_classes_are_set_and_taken_away(dsn: str, pool: Pool) -> None:
    tenant = f"t-{secrets.token_hex(6)}"
    for classes, expected in (("car, truck,car", ("car", "truck")), ("", ())):
        await asyncio.to_thread(roadloop, dsn, "queues", "set", "--tenant", tenant, "--classes", classes)
        assert await queue_table.classes_of(pool, tenant) == expected


# --- the process -----------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@dataclass
class Running:
    """The service as a process."""

    process: "subprocess.Popen[bytes]"
    http: str
    health: str

    async def ready(self) -> bool:
        assert self.process.poll() is None, "the service ended"
        async with httpx.AsyncClient(timeout=GUARD_S) as client:
            try:
                return (await client.get(f"{self.health}/readyz")).status_code == 200
            except httpx.TransportError:
                return False


@pytest.fixture
async def running(stack: Stack, dsn: str, tmp_path: Path) -> AsyncIterator[Running]:
    await admin.ensure_topics(stack.kafka_bootstrap)
    access_key, secret_key = stack.s3_keys("label-router")
    http, health = free_port(), free_port()
    env = os.environ | {
        "ROADLOOP_MEMBER": f"label-router-{secrets.token_hex(4)}",
        "ROADLOOP_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "ROADLOOP_POSTGRES_DSN": dsn,
        "ROADLOOP_S3_ENDPOINT": stack.s3_endpoint,
        "ROADLOOP_S3_ACCESS_KEY": access_key,
        "ROADLOOP_S3_SECRET_KEY": secret_key,
        "ROADLOOP_HTTP_PORT": str(http),
        "ROADLOOP_HEALTH_PORT": str(health),
    }
    log = tmp_path / "label-router.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "label_router"], env=env, stdout=out, stderr=out)
    running = Running(process, f"http://127.0.0.1:{http}", f"http://127.0.0.1:{health}")
    try:
        await eventually("ready", running.ready)
        yield running
    finally:
        process.kill()
        process.wait()
        print(log.read_text())


async def publish(stack: Stack, tenant: str, *verdicts: FrameScreened) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True)
    await producer.start()
    for verdict in verdicts:
        id = derive_id(tenant, verdict.frame_id)
        written = to_cloud_event(
            "frames.screened.v1", verdict, id=id, source="/roadloop/screen", tenant=tenant, key="v-1", time=START
        )
        await producer.send_and_wait(written.topic, written.value, written.key, headers=list(written.headers))
    await producer.stop()


async def announced(stack: Stack, topic: str, tenant: str) -> list[dict[str, Any]]:
    """Return what a read_committed reader sees of a tenant."""
    partitions = [await read_partition(stack.kafka_bootstrap, Partition(topic, number)) for number in range(3)]
    mine = [r for records in partitions for r in records if dict(r.headers).get("ce_tenant") == tenant.encode()]
    return sorted((json.loads(record.value or b"") for record in mine), key=lambda body: str(body["frame_id"]))


async def test_the_service_takes_a_kept_frame_to_its_label(stack: Stack, dsn: str, running: Running) -> None:
    tenant = f"t-{secrets.token_hex(6)}"
    picture = await open_store(stack.s3_endpoint, *stack.s3_keys("ingest")).put(
        "uploads", f"{tenant}/f-1.jpg", b"a picture", "image/jpeg"
    )
    dropped = screened("f-0", verdict=Verdict.DROPPED, reasons=(VerdictReason.BELOW_THRESHOLD,))
    await publish(stack, tenant, dropped, screened("f-1", picture=picture), screened("f-2", audit=True))
    token = (await asyncio.to_thread(roadloop, dsn, "annotators", "enrol", "--tenant", tenant, "--name", "Ann")).stdout
    headers = {"Authorization": f"Bearer {token.strip()}"}
    async with httpx.AsyncClient(base_url=running.http, headers=headers, timeout=GUARD_S) as client:

        async def both_wait() -> bool:
            found: dict[str, Any] = (await client.get("/v1/queue")).json()
            return bool(found["waiting"] == 2)

        await eventually("two tasks", both_wait)
        task = (await client.post("/v1/tasks/next")).json()
        assert (await client.get(task["picture_url"], headers={"Authorization": ""})).content == b"a picture"
        body = {"lease_id": task["lease_id"], "boxes": [CAR], "lead_time_s": 4}
        assert (await client.post(f"/v1/tasks/{task['task_id']}/submit", json=body)).status_code == 200

    async def is_published() -> bool:
        return bool(await announced(stack, COMPLETED, tenant))

    await eventually("a published label", is_published)
    requests = await announced(stack, REQUESTED, tenant)
    assert [(r["frame_id"], r["audit"], len(r["prelabels"])) for r in requests] == [("f-1", False, 1), ("f-2", True, 0)]
    (label,) = await announced(stack, COMPLETED, tenant)
    assert (label["task_id"], label["boxes"]) == (task["task_id"], [CAR])
    running.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(running.process.wait, GUARD_S) == 0
