"""What bad input leaves behind, whatever it was: both books agree, and no event came twice, but for replays."""

from typing import Any

import httpx

from roadloop_local.addresses import Stack
from roadloop_runtime.dead_letter import REPLAYED_FROM
from roadloop_world.actors.subscriber import read_topic
from tests.waiting import GUARD_S, eventually

WRITTEN_HERE = (
    "frames.ingested.v1",
    "frames.screened.v1",
    "labels.requested.v1",
    "labels.completed.v1",
    "uploads.fate.v1",
)


async def check_books(stack: Stack) -> None:
    """Wait until every frame has its fate; then fail where the books or the events say that something went wrong."""
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=f"http://{stack.address('ingest')}", timeout=GUARD_S) as ingest:

        async def nothing_in_flight() -> bool:
            found.update((await ingest.get("/v1/books")).json())
            return "in_flight" not in found["frames"]

        async def books() -> object:
            return found

        await eventually("every frame has its fate", nothing_in_flight, moving=books)
    assert found["balanced"], found
    for topic in WRITTEN_HERE:
        told = [dict(record.headers) for record in await read_topic(stack.kafka_bootstrap, topic)]
        ids = [headers["ce_id"] for headers in told if REPLAYED_FROM not in headers]
        assert len(ids) == len(set(ids)), topic
