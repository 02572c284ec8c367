"""Ask Kafka how far groups are behind, without joining any."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError

from roadloop_runtime.kafka.admin import describe_topics, open_admin
from roadloop_runtime.kafka.lag import Lag, Log, find_next_offsets, measure_lag, seconds_since
from roadloop_runtime.kafka.reader import REQUEST_TIMEOUT_S, open_reader
from roadloop_runtime.records import Partition

FIRST_UNREAD_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Clients:
    """Three connections: offsets of groups, ends of logs, first unread records.

    `ends` never fetches, so its answers do not wait behind a fetch that waits for records.
    """

    admin: AIOKafkaAdminClient
    ends: AIOKafkaConsumer
    unread: AIOKafkaConsumer


@asynccontextmanager
async def connect(bootstrap: str) -> AsyncIterator[Clients]:
    """Open the clients, for one look or for many."""
    async with (
        open_admin(bootstrap) as admin,
        open_reader(bootstrap, "read_uncommitted") as ends,
        open_reader(bootstrap) as unread,
    ):
        yield Clients(admin, ends, unread)


async def list_groups(clients: Clients) -> Sequence[str]:
    """Return the names of all groups the broker knows."""
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        return sorted(group for group, *_ in await clients.admin.list_consumer_groups())


async def read_lags(clients: Clients, groups: Mapping[str, Collection[str]]) -> Sequence[Lag]:
    """Return the lags of groups. A group's given topics are shown even where it has committed nothing yet."""
    counts = await describe_topics(clients.admin)
    lags: list[Lag] = []
    for group, topics in groups.items():
        lags += await _read_group(clients, group, topics, counts)
    return lags


async def _read_group(
    clients: Clients, group: str, topics: Collection[str], counts: Mapping[str, int]
) -> Sequence[Lag]:
    committed = await _read_committed(clients.admin, group)
    expected = {Partition(topic, number) for topic in topics for number in range(counts.get(topic, 0))}
    partitions = expected | {
        partition for partition in committed if partition.partition < counts.get(partition.topic, 0)
    }
    logs = await _read_logs(clients.ends, partitions)
    ages = await _read_ages(clients.unread, find_next_offsets(committed, logs))
    return [
        measure_lag(
            group, partition, committed=committed.get(partition), log=log, seconds_behind=ages.get(partition, 0.0)
        )
        for partition, log in logs.items()
    ]


async def _read_committed(admin: AIOKafkaAdminClient, group: str) -> Mapping[Partition, int]:
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        while True:
            try:
                offsets = await admin.list_consumer_group_offsets(group)
            except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
                await asyncio.sleep(0.2)  # a fresh broker makes its topic of offsets when first asked
            else:
                return {Partition(*tp): meta.offset for tp, meta in offsets.items() if meta.offset >= 0}


async def _read_logs(ends: AIOKafkaConsumer, partitions: Collection[Partition]) -> Mapping[Partition, Log]:
    tps = [TopicPartition(*partition) for partition in partitions]
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        first = await ends.beginning_offsets(tps)
        behind = await ends.end_offsets(tps)
    return {Partition(*tp): Log(first[tp], behind[tp]) for tp in tps}


async def _read_ages(unread: AIOKafkaConsumer, begins: Mapping[Partition, int]) -> Mapping[Partition, float | None]:
    """Return how old the first committed record at or behind each offset is, in seconds; see `Lag`."""
    if not begins:
        return {}
    offsets = {TopicPartition(*partition): offset for partition, offset in begins.items()}
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        stable = await unread.end_offsets(list(offsets))
    unread.assign(list(offsets))
    for tp, offset in offsets.items():
        unread.seek(tp, offset)
    timestamps = await _read_first_timestamps(unread, stable)
    now_ms = time.time_ns() // 1_000_000
    return {Partition(*tp): seconds_since(timestamps[tp], now_ms) if tp in timestamps else None for tp in offsets}


async def _read_first_timestamps(
    unread: AIOKafkaConsumer, stable: Mapping[TopicPartition, int]
) -> Mapping[TopicPartition, int | None]:
    """Return the timestamps of the first records, None where there is none up to the stable end.

    What is not read in time is left out. Each partition is read once: the rest of a fetch is thrown away.
    """
    timestamps: dict[TopicPartition, int | None] = {}
    end = time.monotonic() + FIRST_UNREAD_TIMEOUT_S
    while (unread_tps := [tp for tp in stable if tp not in timestamps]) and time.monotonic() < end:
        for tp, records in (await unread.getmany(*unread_tps, timeout_ms=200)).items():
            if records:
                timestamps[tp] = records[0].timestamp
        for tp in unread_tps:
            if tp not in timestamps and await unread.position(tp) >= stable[tp]:
                timestamps[tp] = None
    return timestamps
