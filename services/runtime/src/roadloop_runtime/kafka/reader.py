"""Read Kafka without a group: a partition to its end, and compacted topics that every worker follows."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from roadloop_runtime.broker import Take
from roadloop_runtime.records import Partition, Record

REQUEST_TIMEOUT_S = 30.0
STALLED_S = 90.0  # a transaction that is left open ends after 60 s, and its broker looks every 10 s
Isolation = Literal["read_committed", "read_uncommitted"]


def _make_consumer(bootstrap: str, isolation: Isolation = "read_committed") -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        fetch_max_wait_ms=100,
    )


@asynccontextmanager
async def open_reader(bootstrap: str, isolation: Isolation = "read_committed") -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer that has no group and no partitions yet.

    What it calls the end of a log is the last stable offset, or for `read_uncommitted` the high watermark.
    """
    consumer = _make_consumer(bootstrap, isolation)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


class LogTooShort(Exception):
    """The log ends before the offset that it was to be read from: that offset is of another log."""


async def read_end_offsets(bootstrap: str, topic: str, partitions: int) -> Mapping[int, int]:
    """Return the last stable offset of each partition of a topic."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    async with open_reader(bootstrap) as consumer, asyncio.timeout(REQUEST_TIMEOUT_S):
        return {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}


async def read_partition(bootstrap: str, partition: Partition, since: int = 0) -> Sequence[Record]:
    """Return the committed records of a partition from an offset to its end as of now; raise LogTooShort.

    The end is the last stable offset: what a still open transaction holds back is not waited for.
    """
    async with open_reader(bootstrap) as consumer:
        return await _read_to_end(consumer, TopicPartition(*partition), since)


async def _read_to_end(consumer: AIOKafkaConsumer, tp: TopicPartition, since: int = 0) -> list[Record]:
    consumer.assign([tp])
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        end = (await consumer.end_offsets([tp]))[tp]
    if since > end:
        raise LogTooShort(f"{tp.topic}-{tp.partition} ends at {end}, before {since}")
    if since:
        consumer.seek(tp, since)
    else:
        await consumer.seek_to_beginning(tp)
    records: list[Record] = []
    while await consumer.position(tp) < end:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            polled = await consumer.getmany(tp, timeout_ms=200)
        records += cast("list[Record]", polled.get(tp, []))
    return records


async def read_record(bootstrap: str, partition: Partition, offset: int) -> Record | None:
    """Return the committed record at an offset, None where there is none.

    Offsets out of range are not asked for: the answer would be another record.
    """
    tp = TopicPartition(*partition)
    async with open_reader(bootstrap) as reader, asyncio.timeout(REQUEST_TIMEOUT_S):
        start = (await reader.beginning_offsets([tp]))[tp]
        end = (await reader.end_offsets([tp]))[tp]
        if not start <= offset < end:
            return None
        reader.assign([tp])
        reader.seek(tp, offset)
        while await reader.position(tp) <= offset:
            records = (await reader.getmany(tp, timeout_ms=200, max_records=1)).get(tp, [])
            if records:
                return cast("Record", records[0]) if records[0].offset == offset else None
    return None


async def for_each_record(
    bootstrap: str, topic: str, partitions: int, take: Take, *, up_to: Isolation = "read_committed"
) -> None:
    """Hand over every committed record of a topic up to its end as of now.

    Up to the end for `read_uncommitted`, open transactions are waited for: they may hide what is committed behind
    them. Raises TimeoutError where nothing moves for STALLED_S.
    """
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    async with open_reader(bootstrap, up_to) as end_reader:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            ends = await end_reader.end_offsets(tps)
    async with open_reader(bootstrap) as reader:
        await _read_up_to(reader, ends, take)


async def _read_up_to(reader: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], take: Take) -> None:
    reader.assign(list(ends))
    await reader.seek_to_beginning(*ends)
    async with asyncio.timeout(STALLED_S) as stalled:
        while unread_tps := [tp for tp, end in ends.items() if await reader.position(tp) < end]:
            polled = await reader.getmany(*unread_tps, timeout_ms=200)
            for tp, records in polled.items():
                for record in records:
                    if record.offset < ends[tp]:
                        await take(record)
            if polled:
                stalled.reschedule(asyncio.get_running_loop().time() + STALLED_S)


async def follow_topic(bootstrap: str, topic: str, partitions: int, take: Take) -> None:
    """Hand over every committed record of a topic from its start on, until cancelled."""
    consumer = _make_consumer(bootstrap)
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        while True:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    await take(record)
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await consumer.stop()


class Follower:
    """The newest record per key of a compacted topic with one partition, kept up to date by `run`."""

    def __init__(self, bootstrap: str, topic: str, changed: Take | None = None) -> None:
        self._bootstrap = bootstrap
        self._tp = TopicPartition(topic, 0)
        self._changed = changed
        self.newest: dict[bytes, Record] = {}
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; `caught_up` is set once everything written before the start was read."""
        consumer = _make_consumer(self._bootstrap)
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await consumer.start()
        try:
            for record in await _read_to_end(consumer, self._tp):
                self._take(record)
            for record in list(self.newest.values()):
                await self._tell(record)
            self.caught_up.set()
            while True:
                for records in (await consumer.getmany(self._tp, timeout_ms=500)).values():
                    for record in records:
                        self._take(record)
                        await self._tell(record)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await consumer.stop()

    def _take(self, record: Record) -> None:
        key = record.key or b""
        if record.value is None:
            self.newest.pop(key, None)
        else:
            self.newest[key] = record

    async def _tell(self, record: Record) -> None:
        if self._changed is not None:
            await self._changed(record)
