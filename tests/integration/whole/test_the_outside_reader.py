"""The outside reader finds nothing where nothing is wrong, and names what somebody deleted or doubled."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from roadloop_audit.check import Finding, audit
from roadloop_audit.places import places_of
from roadloop_audit.read import read_facts
from roadloop_world.actors import fleet
from tests.waiting import GUARD_S, LONG_TEST_S, eventually

from .conftest import Road, a_name, bearer, picture

pytestmark = [pytest.mark.integration, pytest.mark.timeout(LONG_TEST_S)]


class Audited:
    """One upload that went all the way, and what the outside reader says of it."""

    def __init__(self, road: Road, upload_id: str, uris: list[str], frames: list[str]) -> None:
        self.road = road
        self.upload_id = upload_id
        self.uris = uris
        self.frames = frames

    async def findings(self, *kinds: str) -> list[Finding]:
        """Return what does not add up, of these kinds, about this upload's frames, objects and tasks."""
        facts = await read_facts(places_of(self.road.whole.stack), objects=True)
        return [f for f in audit(facts, 0.0) if f.kind in kinds]

    async def about_mine(self) -> list[Finding]:
        facts = await read_facts(places_of(self.road.whole.stack), objects=True)
        tasks = {task.task_id for task in facts.tasks if task.frame_id in self.frames}
        mine = {*self.frames, *tasks, f"{self.road.car.tenant}/{self.upload_id}"}
        return [f for f in audit(facts, 0.0) if f.subject in mine or self.road.car.name in f.subject]

    async def execute(self, statement: str, *arguments: Any, role: str = "ingest") -> Any:
        connection = await asyncpg.connect(self.road.whole.stack.postgres_dsn(role))
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()


@pytest.fixture
async def audited(road: Road) -> Audited:
    """Upload pictures, and label one of them."""
    upload_id, pictures = a_name("up"), [picture() for _ in range(24)]
    uris = await road.put(upload_id, pictures)
    await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))
    await road.fate(upload_id)
    made = Audited(road, upload_id, uris, [fleet.derive_frame_id(road.car, picture.content) for picture in pictures])
    await eventually("all adds up", lambda: adds_up(made))
    return made


async def adds_up(audited: Audited) -> bool:
    return not await audited.about_mine()


async def test_a_label_that_went_all_the_way_adds_up(audited: Audited) -> None:
    address = f"http://{audited.road.whole.stack.address('label-router')}"
    async with httpx.AsyncClient(base_url=address, timeout=GUARD_S) as desk:
        who = bearer(audited.road.whole.annotators[0])

        async def labelled() -> bool:  # leases are short: where this one ended, a task is taken again
            task = (await desk.post("/v1/tasks/next", headers=who)).json()
            said = {"lease_id": task["lease_id"], "lead_time_s": 1, "boxes": []}
            answer = await desk.post(f"/v1/tasks/{task['task_id']}/submit", json=said, headers=who)
            return answer.status_code == 200

        await eventually("a task is labelled", labelled)
    label_kinds = ("label-not-told", "label-without-row", "label-not-stored", "label-of-nothing", "task-unbalanced")

    async def stored() -> bool:
        return not await audited.findings(*label_kinds)

    await eventually("the label is told and stored", stored)


async def test_a_deleted_row_is_named(audited: Audited) -> None:
    (row,) = await audited.execute("delete from frames where frame_id = $1 returning *", audited.frames[0])
    try:
        found = await audited.about_mine()
        assert {f.kind for f in found} == {"frame-without-row", "frames-unbalanced"}
        assert audited.frames[0] in {f.subject for f in found}
    finally:
        holes = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await audited.execute(f"insert into frames values ({holes})", *row.values())
    assert await audited.about_mine() == []


async def test_a_changed_fate_is_named(audited: Audited) -> None:
    fate = "update frames set fate = $2 where frame_id = $1 returning fate"
    (before,) = await audited.execute("select fate from frames where frame_id = $1", audited.frames[1])
    await audited.execute(fate, audited.frames[1], "quarantined")
    try:
        assert [(f.kind, f.subject) for f in await audited.about_mine()] == [("fate-differs", audited.frames[1])]
    finally:
        await audited.execute(fate, audited.frames[1], before["fate"])


async def test_a_deleted_object_is_named(audited: Audited) -> None:
    client, gone = audited.road.store.client, audited.uris[0]
    await asyncio.to_thread(client.remove_object, bucket_name="uploads", object_name=gone.removeprefix("s3://uploads/"))
    found = await audited.about_mine()
    assert [(f.kind, f.subject, f.detail) for f in found] == [("object-missing", gone, "S3 says NoSuchKey")]


async def delete_requests(road: Road) -> None:
    """Delete what labels.requested.v1 has: it does not come back, and the reader names that from then on."""
    client = AIOKafkaAdminClient(bootstrap_servers=road.bootstrap)
    await client.start()
    partitions = [TopicPartition("labels.requested.v1", number) for number in range(3)]
    await client.delete_records({tp: RecordsToDelete(before_offset=-1) for tp in partitions})
    await client.close()


async def test_deleted_records_are_named(audited: Audited) -> None:
    await delete_requests(audited.road)
    deleted = await audited.findings("records-deleted")
    assert {f.subject for f in deleted} == {"labels.requested.v1"}
    assert "kept for 720 h" in deleted[0].detail
    not_told = await audited.findings("task-not-told")
    tasks = await audited.execute(
        "select task_id from tasks where verdict->>'frame_id' = any($1::text[])", audited.frames, role="label_router"
    )
    assert {row["task_id"] for row in tasks} <= {f.subject for f in not_told}
    assert tasks


def command(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    program = str(Path(sys.executable).with_name("roadloop"))
    return subprocess.run(
        (program, "audit", *arguments),
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=GUARD_S,
        check=False,
    )


async def test_the_command_says_what_it_found_and_leaves_with_1(audited: Audited) -> None:
    await delete_requests(audited.road)
    found = await asyncio.to_thread(command, "--data", str(audited.road.whole.stack.data), "--json")
    assert found.returncode == 1, found.stderr
    assert "records-deleted" in {finding["kind"] for finding in json.loads(found.stdout)}


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        pytest.param(("--data", "/nowhere"), {}, "cannot read: ", id="no-such-stack"),
        pytest.param((), {"ROADLOOP_AUDIT_BOOTSTRAP": "127.0.0.1:1"}, "ingest_dsn", id="half-a-system"),
    ],
)
def test_the_command_says_what_it_could_not_read(arguments: tuple[str, ...], env: dict[str, str], said: str) -> None:
    found = command(*arguments, **env)
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert said in found.stderr
