"""Labels: announced once with all that is known of them, and only of what a queue asks for."""

import asyncio
from datetime import timedelta

import pytest

from label_router.tables import queue_classes_table
from roadloop_schemas.labels import LabelSource
from tests.builders import make_label, make_label_box, make_object

from .conftest import CAR, START, Office, refused, screened

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("audit", "source"), [(True, LabelSource.AUDIT), (False, LabelSource.CHOSEN)])
async def test_a_label_is_announced_with_all_that_is_known(office: Office, audit: bool, source: LabelSource) -> None:
    await office.put(screened("f-1", audit=audit))
    ann = await office.enrol()
    task = await ann.take()
    office.now += timedelta(seconds=20)
    answer = await ann.submit(task, CAR)
    assert answer.json() == {"task_id": task["task_id"], "label_version": 1, "completed_at": "2026-03-02T08:00:20Z"}
    assert await office.completed() == [
        make_label(
            task_id=task["task_id"],
            object=make_object("f-1.jpg"),
            boxes=(make_label_box(**CAR),),
            annotator=ann.annotator.annotator_id,
            source=source,
            inclusion_probability=0.25,
            completed_at=START + timedelta(seconds=20),
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


async def test_classes_are_told_and_asked_for(office: Office) -> None:
    await office.put(screened("f-1"))
    async with office.pool.acquire() as connection:
        await queue_classes_table.set_classes(connection, office.tenant, ("truck", "bus"))
    ann = await office.enrol()
    task = await ann.take()
    assert (task["classes"], task["prelabels"]) == (["truck", "bus"], [])
    problem = refused(await ann.submit(task, CAR | {"class_name": "bus"}, CAR), 422, "invalid-submission")
    assert (problem["box"], problem["field"]) == (2, "class_name")
    assert problem["remedy"] == "use one of: truck, bus"
    assert await office.completed() == []
    assert (await ann.submit(task, CAR | {"class_name": "bus"})).status_code == 200
