"""Tasks and leases: nobody holds two, nobody shares one, and what expires moves on."""

import asyncio
import json
from collections import Counter
from datetime import timedelta

import pytest

from label_router.tables import task_table
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.frames import VerdictReason
from tests.waiting import eventually

from .conftest import CAR, LEASE_S, Office, refused, screened

pytestmark = pytest.mark.integration


async def test_a_task_says_what_to_label_and_not_why(office: Office) -> None:
    await office.put(screened("f-1"), screened("f-2", audit=True, reasons=(VerdictReason.AUDIT,)))
    ann, ben = await office.enrol(), await office.enrol()
    task, audit = await ann.take(), await ben.take()
    assert task == {
        "task_id": derive_id("task", office.tenant, "f-1"),
        "lease_id": task["lease_id"],
        "lease_expires_at": "2026-03-02T08:10:00Z",
        "frame_id": "f-1",
        "picture_url": "signed:acme/car-1/f-1.jpg",
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
