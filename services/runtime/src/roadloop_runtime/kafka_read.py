"""Read Kafka without a group: a partition to its end, and compacted topics that every worker follows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from roadloop_runtime.records import Partition, Record

REQUEST_TIMEOUT_S = 30.0
Isolation = Literal["read_committed", "read_uncommitted"]


def _consumer(bootstrap: str, isolation: Isolation = "read_committed") -> AIOKafkaConsumer:
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
    consumer = _consumer(bootstrap, isolation)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def read_partition(bootstrap: str, partition: Partition) -> Sequence[Record]:
    """Return all committed records of a partition, from its start to its end as of now.

    The end is the last stable offset: what a still open transaction holds back is not waited for.
    """
    consumer = _consumer(bootstrap)
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await consumer.start()
    try:
        return await _read_to_end(consumer, TopicPartition(*partition))
    finally:
        await consumer.stop()


async def _read_to_end(consumer: AIOKafkaConsumer, tp: TopicPartition) -> list[Record]:
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        end = (await consumer.end_offsets([tp]))[tp]
    records: list[Record] = []
    while await consumer.position(tp) < end:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            found = await consumer.getmany(tp, timeout_ms=200)
        records += cast("list[Record]", found.get(tp, []))
    return records


class Follower:
    """The newest record per key of a compacted topic with one partition, kept up to date by `run`."""

    def __init__(self, bootstrap: str, topic: str, changed: Callable[[Record], Awaitable[None]] | None = None) -> None:
        self._bootstrap = bootstrap
        self._tp = TopicPartition(topic, 0)
        self._changed = changed
        self.newest: dict[bytes, Record] = {}
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; `caught_up` is set once everything written before the start was read."""
        consumer = _consumer(self._bootstrap)
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
