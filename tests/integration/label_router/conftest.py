"""Tasks on a real Postgres: the desk's HTTP in this process over a clock that a test turns, and its commands."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from label_router.commands import register
from label_router.completion import COMPLETED
from label_router.handle import NewTask, queue_of
from label_router.http import Dependencies, make_app
from label_router.prelabels import Policy
from label_router.tables import annotator_table, task_table
from label_router.tables.annotator_table import Annotator
from roadloop_local.addresses import Stack
from roadloop_local.servers.postgres_setup import make_role
from roadloop_runtime.storage import migrations
from roadloop_runtime.storage.postgres import Pool, open_pool
from roadloop_schemas.cloudevents import derive_id, from_headers
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.labels import LabelCompleted
from tests.builders import NOW, make_detection, make_object, make_verdict

START = NOW
LEASE_S = 600.0
CAR = {"class_name": "car", "x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 0.4}
SEEN = (
    make_detection("car", 0.8, y1=0.2, y2=0.4),
    make_detection("bus", 0.1, x1=0.5, x2=0.9),
)


def screened(frame_id: str, *, picture: ObjectRef | None = None, **changes: Any) -> FrameScreened:
    """Return the verdict on a frame that was kept, unless `changes` say otherwise."""
    usual = {"inclusion_probability": 0.25, "detections": SEEN, "detail": "a NUL \x00 must not stop a partition"}
    return make_verdict(frame_id=frame_id, object=picture or make_object(f"{frame_id}.jpg"), **(usual | changes))


@pytest.fixture(scope="package")
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
        assert found["queue"] == f"{self.annotator.tenant}.default"
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


def roadloop(dsn: str, *arguments: str, exit_code: int = 0) -> Result:
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, [*arguments, "--postgres", dsn])
    assert done.exit_code == exit_code, done.output
    return done
