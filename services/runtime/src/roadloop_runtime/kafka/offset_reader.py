"""Read a topic from offsets that its reader keeps elsewhere; Kafka gets a copy of them, for who looks at lags."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from roadloop_runtime.kafka.reader import REQUEST_TIMEOUT_S
from roadloop_runtime.records import Record

log = structlog.get_logger()


class RecordsLost(Exception):
    """The records from an offset on are gone before they were read: retention was shorter than the reader's absence."""


class Tail:
    """A topic's partitions, read in order. `group` is a name in the lists of lags, no membership."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, partitions: int) -> None:
        self._consumer = consumer
        self._tps = [TopicPartition(topic, number) for number in range(partitions)]

    async def go_to(self, offsets: Mapping[int, int], *, with_gaps: bool = False) -> None:
        """Read on from these offsets, from the start where a partition has none; raise RecordsLost for a gap.

        With gaps, what is lost is told in the log, and what there is is read.
        """
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            starts = await self._consumer.beginning_offsets(self._tps)
        for tp in self._tps:
            next_offset = offsets.get(tp.partition, starts[tp])
            lost = starts[tp] - next_offset
            if lost > 0 and not with_gaps:
                raise RecordsLost(
                    f"{tp.topic}/{tp.partition}: {lost} records from {next_offset} on expired before they were read: "
                    "take them from a backup, or go on without them (ROADLOOP_ACCEPT_GAPS=true)"
                )
            if lost > 0:
                log.error("records_lost", topic=tp.topic, partition=tp.partition, first=next_offset, count=lost)
            self._consumer.seek(tp, max(next_offset, starts[tp]))

    async def go_to_end(self) -> None:
        """Read what comes from now on."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            ends = await self._consumer.end_offsets(self._tps)
        for tp in self._tps:
            self._consumer.seek(tp, ends[tp])

    async def batch(self, at_most: int, within_s: float) -> list[Record]:
        """Return what comes within a time, each partition's records in order, and at most so many."""
        records: list[Record] = []
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while len(records) < at_most and (left_s := until - loop.time()) > 0:
            polled = await self._consumer.getmany(timeout_ms=int(left_s * 1000), max_records=at_most - len(records))
            records += [cast("Record", record) for batch in polled.values() for record in batch]
        return records

    async def tell(self, offsets: Mapping[int, int]) -> None:
        """Let Kafka know how far the reader is."""
        commits = {tp: offsets[tp.partition] for tp in self._tps if tp.partition in offsets}
        if commits:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await self._consumer.commit(commits)


@asynccontextmanager
async def open_tail(bootstrap: str, topic: str, partitions: int, group: str) -> AsyncIterator[Tail]:
    """Open a tail of a topic; `go_to` says where it begins."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
    )
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await consumer.start()
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        yield Tail(consumer, topic, partitions)
    finally:
        await consumer.stop()
