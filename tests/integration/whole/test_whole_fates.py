"""Uploads that get a fate as a whole: never completed, completed late, or given up unseen."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from ingest import fate_table
from ingest.abandon import abandon_late
from ingest.fates import FrameFate, FramesTrained
from ingest.signature import OWN_KEY_ID, sign
from roadloop_runtime.dead_letter import to_dead_letter
from roadloop_runtime.dead_letters.dead_letters import Fate
from roadloop_runtime.outcome import DeadLetter, LoopReason
from roadloop_runtime.storage.postgres import Pool, open_pool
from roadloop_schemas.cloudevents import Attributes, to_headers
from roadloop_world.actors import fleet
from tests.builders import make_record
from tests.waiting import LONG_TEST_S, eventually

from .conftest import COMPLETED, Road, a_name, bearer, body, file, picture

pytestmark = [pytest.mark.integration, pytest.mark.timeout(LONG_TEST_S)]


FORGET = "update frames set labelled = false, trained = false where frame_id = any($1::text[])"


async def abandon(road: Road) -> int:
    """Abandon everything that was announced so far and not completed."""
    async with await open_pool(road.whole.stack.postgres_dsn("ingest"), name="test") as pool:
        return await abandon_late(pool, datetime.now(UTC) + timedelta(minutes=1))


async def books_balance(road: Road) -> bool:
    return bool((await road.client.get("/v1/books")).json()["balanced"])


async def accepted(road: Road, upload_id: str) -> bool:
    return "accepted" in await road.fate(upload_id)


async def test_an_upload_that_is_never_completed_is_abandoned_and_taken_when_it_comes_late(road: Road) -> None:
    upload_id, pictures = a_name("up"), [picture(), picture()]
    await road.put(upload_id, pictures)
    assert await abandon(road) >= 1
    told = await road.fate(upload_id)
    assert told == {"announced": 2, "abandoned": 2, "reasons": {"never_completed": 2}}
    assert await abandon(road) == 0, "once"
    assert await books_balance(road)
    answer = await road.client.post(f"/v1/uploads/{upload_id}/complete", headers=bearer(road.car.token()))
    assert answer.status_code == 200
    await eventually("it is admitted", lambda: accepted(road, upload_id))
    told = await road.fate(upload_id)
    assert (told["accepted"], told.get("abandoned", 0), told.get("reasons")) == (2, 0, None)
    assert await books_balance(road)


async def test_a_given_up_completion_rejects_its_upload_until_a_replay_admits_it(road: Road) -> None:
    upload_id, pictures = a_name("up"), [picture()]
    (uri,) = await road.put(upload_id, pictures)
    value = json.dumps(body(road.car, upload_id, file(uri, pictures[0].content))).encode()
    event_id, key = a_name("e"), road.whole.stack.layout.secrets["ingest.signing_key"]
    jws = sign(event_id, road.car.tenant, value, key=key, key_id=OWN_KEY_ID)
    headers = (
        *to_headers(Attributes(event_id, "/roadloop/ingest", f"roadloop.{COMPLETED}", road.car.tenant)),
        ("jws", jws),
    )
    came = make_record(value, topic=COMPLETED, partition=0, offset=0, key=road.car.name.encode(), headers=headers)
    dead_letter = to_dead_letter("ingest", came, DeadLetter(LoopReason.STILL_FAILING))
    await road.producer.send_and_wait(
        dead_letter.topic, dead_letter.value, dead_letter.key, 0, headers=list(dead_letter.headers)
    )
    told = await road.fate(upload_id)
    assert told == {"announced": 1, "rejected": 1, "reasons": {"still_failing": 1}}
    assert await books_balance(road)
    assert await road.replay(dead_letter.topic, event_id) == {Fate.REPLAYED: 1}
    await eventually("it is admitted", lambda: accepted(road, upload_id))
    told = await road.fate(upload_id)
    assert (told["accepted"], told.get("rejected", 0), told["replayed_files"]) == (1, 0, 1)
    assert await books_balance(road)


async def test_settles_that_touch_the_same_uploads_crosswise_never_deadlock(road: Road) -> None:
    """Verdicts, labels and trainings of the same frames settle in their own order, and admissions beside them."""
    uploads = [(a_name("up"), [picture() for _ in range(6)]) for _ in range(4)]
    for upload_id, pictures in uploads:
        uris = await road.put(upload_id, pictures)
        await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))
        await road.fate(upload_id)
    frames = [fleet.derive_frame_id(road.car, one.content) for _, pictures in uploads for one in pictures]
    dice = Random(1)

    async def settle(pool: Pool) -> None:
        for _ in range(12):
            changes = [FrameFate("labelled", frame_id=frame) for frame in dice.sample(frames, len(frames))]
            trained = FramesTrained(dice.sample(frames, len(frames)))
            async with pool.acquire() as connection, connection.transaction():
                await fate_table.store(connection, [*changes, trained] if dice.random() < 0.5 else [trained, *changes])
                await connection.execute(FORGET, frames)

    async with await open_pool(road.whole.stack.postgres_dsn("ingest"), name="test") as pool:
        await asyncio.gather(*(settle(pool) for _ in range(6)))
