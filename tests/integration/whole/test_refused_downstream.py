"""What goes wrong behind ingest: no model, no picture, bad labels, and specs that match nothing."""

import asyncio
from typing import Any

import httpx
import pytest

from roadloop_audit.check import audit
from roadloop_audit.places import places_of
from roadloop_audit.read import read_facts
from roadloop_local import stack as local
from roadloop_runtime.dead_letters.dead_letters import Fate
from roadloop_schemas.frames import FrameScreened, Verdict, VerdictReason
from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.actors.subscriber import read_topic
from tests.waiting import GUARD_S, LONG_TEST_S, eventually

from .conftest import (
    UNSERVED,
    Road,
    Whole,
    a_name,
    bearer,
    picture,
    serves,
)
from .problems import refused

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(LONG_TEST_S),
    pytest.mark.usefixtures("books_that_balance_in_the_end"),
]


async def test_frames_of_a_tenant_without_a_model_are_dead_lettered(road: Road) -> None:
    car, upload_id, pictures = await road.enrol(UNSERVED), a_name("up"), [picture(), picture()]
    uris = await road.put(upload_id, pictures, car)
    await road.send(*fleet.sign_completion(car, upload_id, "d-1", uris, pictures))
    told = await road.fate(upload_id, car)
    assert (told["accepted"], told["ingested"], told["dead_lettered"]) == (2, 2, 2)
    (unit,) = await road.units_of(upload_id)
    letters = await road.letters("screen", unit.topic, unit.partition)
    (dead_letter,) = [dead_letter for dead_letter in letters if dead_letter["offset"] == str(unit.offset)]
    assert (dead_letter["reason"], dead_letter["field"]) == ("no_model", "ce_tenant")
    assert f"detector.{UNSERVED}" in dead_letter["remedy"]
    await road.still_goes_on()


async def test_a_replay_without_its_remedy_dies_again_and_after_it_is_screened_and_the_books_tell(road: Road) -> None:
    tenant = a_name("late")
    car, upload_id, pictures = await road.enrol(tenant), a_name("up"), [picture(), picture()]
    uris = await road.put(upload_id, pictures, car)
    await road.send(*fleet.sign_completion(car, upload_id, "d-1", uris, pictures))
    told = await road.fate(upload_id, car)
    assert (told["dead_lettered"], told.get("replayed", 0)) == (2, 0)
    (unit,) = await road.units_of(upload_id)
    event_id = dict(unit.headers)["ce_id"].decode()
    assert await road.replay("dlq.screen.frames.ingested.v1", event_id) == {Fate.REPLAYED: 1}

    async def has(**wanted: int) -> bool:
        told = await road.fate(upload_id, car)
        return {name: told.get(name, 0) for name in wanted} == wanted

    await eventually("it died again", lambda: has(dead_lettered=2, replayed=2))
    await tenant_setup.seed_model(road.whole.stack, tenant, f"detector.{tenant}", tenant_setup.DETECTORS / "v1")
    await eventually("the model serves", lambda: serves(road.whole.stack, tenant))
    again = await road.replay("dlq.screen.frames.ingested.v1", event_id)
    assert again == {Fate.REPLAYED: 1, Fate.REPLAYED_BEFORE: 1}, "the second death, not the first one again"
    await eventually("it is screened", lambda: has(dead_lettered=0, replayed=2))
    told = await road.fate(upload_id, car)
    assert told.get("kept", 0) + told.get("dropped", 0) == 2
    books = (await road.client.get("/v1/books")).json()
    assert books["balanced"]
    assert books["replayed"] >= 2
    facts = await read_facts(places_of(road.whole.stack), objects=False)
    assert not [found for found in audit(facts, 0.0) if found.subject == event_id], "a replay is no event told twice"


async def test_a_picture_that_vanishes_before_screening_is_quarantined(road: Road) -> None:
    data, upload_id, pictures = road.whole.stack.data, a_name("up"), [picture(), picture()]
    uris = await road.put(upload_id, pictures)
    await asyncio.to_thread(local.stop, data, "screen")
    await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))

    async def ingested() -> bool:
        return len(await road.units_of(upload_id)) == 1

    await eventually("the unit is announced", ingested)
    await asyncio.to_thread(
        road.store.client.remove_object, bucket_name="uploads", object_name=uris[0].removeprefix("s3://uploads/")
    )
    await asyncio.to_thread(local.start, data, "screen")
    told = await road.fate(upload_id)
    assert (told["quarantined"], told.get("kept", 0) + told.get("dropped", 0)) == (1, 1)
    screened = await read_topic(road.bootstrap, "frames.screened.v1")
    verdicts = [FrameScreened.model_validate_json(record.value or b"") for record in screened]
    (verdict,) = [v for v in verdicts if v.object.uri == uris[0]]
    assert (verdict.verdict, verdict.reasons) == (Verdict.QUARANTINED, (VerdictReason.OBJECT_MISSING,))
    await road.still_goes_on()


async def test_bad_labels(road: Road) -> None:
    """A task nobody has, boxes that cannot be, and a lease that expired: the task is labelled by who holds it."""
    # Half is kept by lot: of eight pictures none was, once in 256 runs; of forty, never in a lifetime of runs.
    upload_id, pictures = a_name("up"), [picture() for _ in range(40)]
    uris = await road.put(upload_id, pictures)
    await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))
    assert (await road.fate(upload_id))["kept"]
    ann, ben = (bearer(token) for token in road.whole.annotators)
    address = f"http://{road.whole.stack.address('label-router')}"
    async with httpx.AsyncClient(base_url=address, timeout=GUARD_S) as desk:

        async def take(who: dict[str, str]) -> dict[str, Any]:
            answer = await desk.post("/v1/tasks/next", headers=who)
            return answer.json() if answer.status_code == 200 else {}

        async def submit(who: dict[str, str], task: dict[str, Any], boxes: str = "[]") -> httpx.Response:
            said = f'{{"lease_id": "{task["lease_id"]}", "lead_time_s": 1, "boxes": {boxes}}}'
            return await desk.post(f"/v1/tasks/{task['task_id']}/submit", content=said, headers=who)

        mine: dict[str, Any] = {}

        async def leased() -> bool:
            mine.update(await take(ann))
            return bool(mine)

        await eventually("a task waits", leased)
        refused(await submit(ann, mine | {"task_id": "nobodys"}), 404, "no-such-task")
        for x2 in ("1.5", "NaN", "0.1"):
            box = f'[{{"class_name": "car", "x1": 0.2, "y1": 0.2, "x2": {x2}, "y2": 0.9}}]'
            assert "x2" in refused(await submit(ann, mine, box), 422, "invalid-submission")
        theirs: dict[str, Any] = {}

        async def taken_over() -> bool:
            theirs.clear()
            theirs.update(await take(ben))
            if theirs and theirs["task_id"] != mine["task_id"]:
                await submit(ben, theirs)  # it was in the way
            return theirs.get("task_id") == mine["task_id"]

        await eventually("the lease expired and the task went to somebody else", taken_over)
        assert mine["task_id"] in refused(await submit(ann, mine), 409, "lease-gone")

        async def labelled() -> bool:  # this lease is short, too: where it ended, the task is taken again
            return await taken_over() and (await submit(ben, theirs)).status_code == 200

        await eventually("who holds the task labels it", labelled)


@pytest.mark.parametrize(
    ("model", "uri", "status", "reason"),
    [
        pytest.param("detector.whole", "s3://datasets/whole/none.zip", 422, "object-missing", id="a-set-that-is-not"),
        pytest.param("detector.whole", "s3://models/whole/none.zip", 422, "foreign-object", id="a-set-elsewhere"),
        pytest.param("detector.whole", "s3://datasets/other/none.zip", 422, "foreign-object", id="anothers-set"),
        pytest.param("absent.whole", "s3://datasets/whole/none.zip", 422, "unknown-model", id="a-model-that-is-not"),
        pytest.param("detector.other", "s3://datasets/whole/none.zip", 404, "unknown-model", id="anothers-model"),
    ],
)
async def test_a_training_spec_that_matches_nothing(
    whole: Whole, model: str, uri: str, status: int, reason: str
) -> None:
    nothing = {"uri": uri, "sha256": "0" * 64, "size_bytes": 1000}
    spec = {"min_labels": 10, "base_set": nothing, "validation_set": nothing, "steps": 1, "max_seconds": 1}
    async with httpx.AsyncClient(
        base_url=f"http://{whole.stack.address('trainer-trigger')}", timeout=GUARD_S
    ) as client:
        answer = await client.put(f"/v1/specs/{model}", json=spec, headers=bearer(whole.researcher))
    assert refused(answer, status, reason)
