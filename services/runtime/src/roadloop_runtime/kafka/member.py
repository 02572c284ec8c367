"""A member of a consumer group, over aiokafka."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from roadloop_runtime.broker import Broker, Log, OffsetsExpired, Rebalanced, TopicMissing
from roadloop_runtime.kafka.admin import open_admin
from roadloop_runtime.kafka.reader import REQUEST_TIMEOUT_S
from roadloop_runtime.kafka.topic_ids import read_topic_ids
from roadloop_runtime.kafka.writer import TAKE_OVER_TIMEOUT_S
from roadloop_runtime.records import Partition, Record

SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 600
COPY = "a copy for lag tools: the service keeps its offsets in Postgres"
NOWHERE = TopicPartition("", 0)  # for the client no partition means all of them


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, revoked: Rebalanced, assigned: Rebalanced) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._revoked(frozenset(Partition(*tp) for tp in revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._assigned(frozenset(Partition(*tp) for tp in assigned))


def _to_tp(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


class KafkaMember:
    """One member of one consumer group. `member` is its id, which outlives restarts."""

    def __init__(self, broker: Broker, bootstrap: str, client_id: str, group: str, member: str) -> None:
        self.broker = broker
        self.group = group
        self._bootstrap = bootstrap
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            client_id=client_id,
            group_instance_id=member,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=20_000,
            max_poll_interval_ms=300_000,
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )

    async def join(self, topics: Collection[str], revoked: Rebalanced, assigned: Rebalanced) -> None:
        """Join the group. The callbacks run inside a rebalance: what they raise would only be logged."""
        self._consumer.subscribe(topics=list(topics), listener=_Listener(revoked, assigned))
        async with asyncio.timeout(TAKE_OVER_TIMEOUT_S):
            await self._consumer.start()

    async def leave(self) -> None:
        """Close the consumer; a static member keeps its place for the session timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await self._consumer.stop()

    async def poll(
        self, partitions: Iterable[Partition], max_records: int, timeout_s: float
    ) -> Mapping[Partition, Sequence[Record]]:
        """Return the next records of some partitions. To poll none says to the group that this member is alive.

        What was fetched of other partitions stays with the client; of a paused one it would be thrown away.
        Raises OffsetsExpired where the next offset is below the log's start: nothing is skipped silently.
        """
        tps = [_to_tp(partition) for partition in partitions] or [NOWHERE]
        try:
            polled = await self._consumer.getmany(*tps, timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except NoOffsetForPartitionError:
            return {}  # not yet taken over: the take-over seeks
        except OffsetOutOfRangeError as error:
            raise OffsetsExpired(f"{error}: raise the topic's retention, or reset the group deliberately") from error
        return cast("Mapping[Partition, Sequence[Record]]", polled)

    def pause(self, partitions: Iterable[Partition]) -> None:
        assigned = self._consumer.assignment()
        self._consumer.pause(*(tp for tp in map(_to_tp, partitions) if tp in assigned))

    def resume(self, partitions: Iterable[Partition]) -> None:
        assigned = self._consumer.assignment()
        self._consumer.resume(*(tp for tp in map(_to_tp, partitions) if tp in assigned))

    async def position(self, partition: Partition) -> int:
        """Return the offset behind what was polled last, transaction markers included."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return int(await self._consumer.position(_to_tp(partition)))

    async def log_of(self, partition: Partition) -> Log:
        """Return the log that a partition has now."""
        tp = _to_tp(partition)
        async with asyncio.timeout(REQUEST_TIMEOUT_S), open_admin(self._bootstrap) as admin:
            topic_ids = await read_topic_ids(admin, [partition.topic])
            starts, ends = await self._consumer.beginning_offsets([tp]), await self._consumer.end_offsets([tp])
        if partition.topic not in topic_ids:
            raise TopicMissing(f"{partition.topic} is not there any more: roadloop topics create")
        return Log(str(topic_ids[partition.topic]), int(starts[tp]), int(ends[tp]))

    def seek(self, partition: Partition, offset: int) -> None:
        self._consumer.seek(_to_tp(partition), offset)

    async def committed(self, partition: Partition) -> int | None:
        """Return the group's committed offset, asked from the coordinator now."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            offset = await self._consumer.committed(_to_tp(partition))
        return None if offset is None else int(offset)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit offsets outside of a transaction: a copy for lag tools, never read back."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await self._consumer.commit({_to_tp(partition): (offset, COPY) for partition, offset in offsets.items()})
