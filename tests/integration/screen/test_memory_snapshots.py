"""Snapshots of memory on a real broker and a real S3: with one or without, the same is remembered."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from aiokafka.admin import NewTopic
from structlog.testing import capture_logs

from roadloop_local.addresses import Stack
from roadloop_local.ports import choose_ports
from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.kafka.reader import LogTooShort, read_end_offsets, read_partition
from roadloop_runtime.outcome import Emit
from roadloop_runtime.records import Event, Partition
from roadloop_runtime.storage.objects import ObjectRefused, ObjectStore, open_store
from screen.handle import Observation, decide
from screen.memory.entries import remember
from screen.memory.snapshot_file import Snapshot, as_file, extend_snapshot
from screen.memory.snapshots import BUCKET, MemoryTopic, Snapshots
from screen.memory.state import Memory
from tests.builders import PAIR, make_frame, make_judged, receive_unit
from tests.waiting import eventually

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)


@pytest.fixture
async def topic(stack: Stack) -> AsyncIterator[str]:
    name = f"memory-{uuid.uuid4().hex[:10]}"
    await make(stack, name)
    yield name
    await remove(stack, name)


async def make(stack: Stack, name: str) -> None:
    await admin.create_topics(
        stack.kafka_bootstrap, [NewTopic(name, 2, 1, topic_configs={"cleanup.policy": "compact"})]
    )


async def remove(stack: Stack, name: str) -> None:
    async with admin.open_admin(stack.kafka_bootstrap) as client:
        await client.delete_topics([name])


@pytest.fixture
def written_by(stack: Stack) -> ObjectStore:
    return open_store(stack.s3_endpoint, *stack.s3_keys("screen-history"))


@pytest.fixture
def remembered(stack: Stack, topic: str) -> MemoryTopic:
    """What a worker reads with: it may not write."""
    store = open_store(stack.s3_endpoint, *stack.s3_keys("screen"))
    return MemoryTopic(stack.kafka_bootstrap, store, topic)


@pytest.fixture
def sink(remembered: MemoryTopic, written_by: ObjectStore) -> Snapshots:
    return Snapshots(replace(remembered, store=written_by), after=5)


def screened(memory: Memory, first: int, topic: str) -> tuple[Memory, list[Event]]:
    """Screen a unit more; return the memory then, and the entries that it wrote."""
    looks = tuple(make_judged(number) for number in range(first, first + 20))
    seen = Observation(
        receive_unit(*(make_frame(number, number * 2**40) for number in range(first, first + 20))), PAIR, looks
    )
    after, outcome = decide(memory, seen, {}, salt=b"a salt of 16 or more")
    assert isinstance(outcome, Emit)
    return after, [entry._replace(topic=topic, partition=1) for entry in remember(1, memory, after)]


async def settle(stack: Stack, entries: Iterable[Event]) -> None:
    writer = await Kafka(stack.kafka_bootstrap, "test").fence(f"test-{uuid.uuid4().hex}")
    try:
        await writer.transact(list(entries), {}, "")
    finally:
        await writer.close()


async def a_unit(stack: Stack, topic: str) -> Memory:
    """Screen and settle the first unit; return the memory then."""
    memory, entries = screened(Memory(), 0, topic)
    await settle(stack, entries)
    return memory


async def end_of(stack: Stack, topic: str) -> int:
    return (await read_end_offsets(stack.kafka_bootstrap, topic, 2))[1]


async def take(stack: Stack, sink: Snapshots) -> Snapshot:
    await sink.renew(1, await end_of(stack, sink.memory_topic.topic))
    found = await sink.memory_topic.newest(1)
    assert found is not None
    return found


async def test_a_worker_begins_with_the_snapshot_and_reads_only_what_came_since(
    stack: Stack, topic: str, remembered: MemoryTopic, sink: Snapshots
) -> None:
    memory, entries = screened(Memory(), 0, topic)
    await settle(stack, entries)
    assert await remembered.rebuild(1) == memory, "before there is one"
    taken = await take(stack, sink)
    assert taken.head.entries == len({entry.key for entry in entries})
    memory, since = screened(memory, 20, topic)
    await settle(stack, since)
    known, read = await remembered.read(1)
    assert known == taken
    assert [record.key for record in read] == [entry.key for entry in since]
    with capture_logs() as said:
        assert await remembered.rebuild(1) == memory
    assert said[-1] | {"snapshot_up_to": taken.head.offset, "entries_read": len(since)} == said[-1]
    assert await remembered.rebuild(0) == Memory()


async def test_a_snapshot_grows_by_what_came_and_is_not_taken_for_less(
    stack: Stack, topic: str, remembered: MemoryTopic, sink: Snapshots
) -> None:
    memory = await a_unit(stack, topic)
    first = await take(stack, sink)
    await settle(stack, [Event(topic, b"stride:gone", b"{}", (), 1)])
    assert await take(stack, sink) == first, "one entry more is not worth it"
    memory, entries = screened(memory, 20, topic)
    await settle(stack, [*entries, Event(topic, b"stride:gone", None, (), 1)])
    grew = await take(stack, sink)
    assert grew.head.offset > first.head.offset
    assert b"stride:gone" not in grew.entries
    assert await remembered.rebuild(1) == memory


async def test_another_sink_goes_on_from_the_snapshot_there_is(stack: Stack, topic: str, sink: Snapshots) -> None:
    await a_unit(stack, topic)
    first = await take(stack, sink)
    second = Snapshots(sink.memory_topic, after=5)
    assert await take(stack, second) == first
    assert second.heads == sink.heads


async def test_one_that_grows_old_is_taken_anew_and_an_old_one_is_not_used(
    stack: Stack, topic: str, remembered: MemoryTopic, sink: Snapshots
) -> None:
    memory = await a_unit(stack, topic)
    first = await take(stack, sink)
    later = replace(remembered, clock=lambda: NOW + timedelta(hours=21))
    assert await later.newest(1) is None
    assert await later.rebuild(1) == memory
    sink.memory_topic = replace(sink.memory_topic, clock=lambda: NOW + timedelta(hours=11))
    renewed = await take(stack, sink)
    assert renewed.entries == first.entries
    assert await later.newest(1) == renewed


async def test_a_topic_that_was_made_anew_is_read_from_its_start(
    stack: Stack, topic: str, remembered: MemoryTopic, sink: Snapshots
) -> None:
    await a_unit(stack, topic)
    old = await take(stack, sink)
    await remove(stack, topic)
    await eventually("the topic is gone", lambda: _is_gone(stack, topic))
    await make(stack, topic)
    with pytest.raises(LogTooShort, match=rf"ends at 0, before {old.head.offset}"):
        await read_partition(stack.kafka_bootstrap, Partition(topic, 1), old.head.offset)
    assert await remembered.rebuild(1) == Memory()
    assert (await take(stack, sink)).head.offset == 0, "and the sink takes the old one away"


async def _is_gone(stack: Stack, topic: str) -> bool:
    return topic not in await admin.read_partition_counts(stack.kafka_bootstrap)


async def bad(content: bytes, remembered: MemoryTopic, written_by: ObjectStore) -> list[Any]:
    """Put something where the snapshot is; return what a worker says of it."""
    await written_by.put(BUCKET, await remembered.key_of(1), content, "application/gzip")
    with capture_logs() as said:
        assert await remembered.newest(1) is None
    return said


def nowhere() -> str:
    """Return an address at which nobody listens."""
    return f"http://127.0.0.1:{choose_ports(['nowhere'], {})['nowhere']}"


async def test_what_is_no_snapshot_of_this_partition_is_not_used(
    stack: Stack, topic: str, remembered: MemoryTopic, written_by: ObjectStore
) -> None:
    memory = await a_unit(stack, topic)
    said = await bad(b"no gzip", remembered, written_by)
    assert said[-1]["event"] == "snapshot_not_read"
    await bad(as_file(extend_snapshot(None, [], partition=0, now=NOW)), remembered, written_by)
    assert await remembered.rebuild(1) == memory


@pytest.mark.parametrize("s3", ["refuses", "is away"])
async def test_without_the_right_to_read_or_an_s3_that_answers_the_topic_is_read(
    stack: Stack, topic: str, remembered: MemoryTopic, s3: str
) -> None:
    memory = await a_unit(stack, topic)
    endpoint = stack.s3_endpoint if s3 == "refuses" else nowhere()
    without = replace(remembered, store=open_store(endpoint, "nobody", "nothing"))
    with capture_logs() as said:
        assert await without.rebuild(1) == memory
    assert await _is_said("snapshot_not_read", said)


async def test_a_worker_may_not_write_one(remembered: MemoryTopic) -> None:
    with pytest.raises(ObjectRefused):
        await remembered.store.put(BUCKET, await remembered.key_of(1), b"mine", "application/gzip")


async def test_the_sink_goes_on_where_s3_was_away(stack: Stack, topic: str, sink: Snapshots) -> None:
    await a_unit(stack, topic)
    there = sink.memory_topic
    sink.memory_topic = replace(there, store=open_store(nowhere(), "nobody", "nothing"))
    with capture_logs() as said:
        keeping = asyncio.create_task(sink.keep(2, every_s=0.2))
        try:
            await eventually("it is said", partial(_is_said, "snapshot_not_taken", said))
            assert not sink.heads
            sink.memory_topic = there
            await eventually("it is taken", partial(_is_said, "snapshot_taken", said))
        finally:
            keeping.cancel()
    assert list(sink.heads) == [1], "an empty partition has none"


async def _is_said(event: str, said: list[Any]) -> bool:
    return any(one["event"] == event for one in said)
