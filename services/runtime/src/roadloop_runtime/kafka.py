"""The one narrow door to Kafka. Nothing else imports a Kafka client.

Every await here has a limit, and errors come out as three kinds: `Fenced` (another owner is there: end),
`Aborted` (take the partition over again) and what the client raised (end).
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeAlias, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    ProducerFenced,
)
from aiokafka.partitioner import DefaultPartitioner

from roadloop_runtime import claims
from roadloop_runtime.kafka_read import REQUEST_TIMEOUT_S
from roadloop_runtime.process import Identity
from roadloop_runtime.records import Event, Partition, Record

TAKE_OVER_TIMEOUT_S = 60.0
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 600
MAX_BATCH_BYTES = 256 * 1024
NOWHERE = TopicPartition("", 0)  # for the client no partition means all of them

Producer: TypeAlias = AIOKafkaProducer
Rebalanced = Callable[[frozenset[Partition]], Awaitable[None]]


class Fenced(Exception):
    """Another owner has taken this partition over. Nothing more may be written by this process."""


class Aborted(Exception):
    """The batch did not become durable, as far as is known. Take the partition over again, memory included."""


class OffsetsExpired(Exception):
    """Records between the committed offset and the log's start were deleted before they were read."""


class TopicMissing(Exception):
    """A topic is not there, or has another partition count than its file says."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, revoked: Rebalanced, assigned: Rebalanced) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._revoked(frozenset(Partition(*tp) for tp in revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._assigned(frozenset(Partition(*tp) for tp in assigned))


def _tp(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


class Kafka:
    """One member of one consumer group, and its transactional producers."""

    def __init__(
        self, bootstrap: str, group: str, client_id: str, member: str, *, members_topic: str = claims.TOPIC
    ) -> None:
        self.group = group
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._members_topic = members_topic
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
        wanted = [_tp(partition) for partition in partitions] or [NOWHERE]
        try:
            found = await self._consumer.getmany(*wanted, timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except NoOffsetForPartitionError:
            return {}  # not yet taken over: the take-over seeks
        except OffsetOutOfRangeError as error:
            raise OffsetsExpired(f"{error}: raise the topic's retention, or reset the group deliberately") from error
        return cast("Mapping[Partition, Sequence[Record]]", found)

    def pause(self, partitions: Iterable[Partition]) -> None:
        assigned = self._consumer.assignment()
        self._consumer.pause(*(tp for tp in map(_tp, partitions) if tp in assigned))

    def resume(self, partitions: Iterable[Partition]) -> None:
        assigned = self._consumer.assignment()
        self._consumer.resume(*(tp for tp in map(_tp, partitions) if tp in assigned))

    def assigned(self) -> frozenset[Partition]:
        return frozenset(Partition(*tp) for tp in self._consumer.assignment())

    async def position(self, partition: Partition) -> int:
        """Return the offset behind what was polled last, transaction markers included."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return int(await self._consumer.position(_tp(partition)))

    async def start_of(self, partition: Partition) -> int:
        """Return the log's first offset."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return int((await self._consumer.beginning_offsets([_tp(partition)]))[_tp(partition)])

    def seek(self, partition: Partition, offset: int) -> None:
        self._consumer.seek(_tp(partition), offset)

    async def committed(self, partition: Partition) -> int | None:
        """Return the group's committed offset, asked from the coordinator now."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            offset = await self._consumer.committed(_tp(partition))
        return None if offset is None else int(offset)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit offsets outside of a transaction: a copy for lag tools, never read back."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await self._consumer.commit({_tp(partition): offset for partition, offset in offsets.items()})

    async def fence(self, transactional_id: str) -> Producer:
        """Start the producer of an id; from now on every older producer of it is refused."""
        return await fence(self._bootstrap, self._client_id, transactional_id)

    async def transact(self, producer: Producer, events: Sequence[Event], offsets: Mapping[Partition, int]) -> None:
        """Write events and offsets at once or not at all. Raises Fenced or Aborted."""
        await transact(producer, events, offsets, self.group)

    async def claim(self, me: Identity) -> None:
        """Say in the members topic that this process has its member id now."""
        await claims.claim(self._bootstrap, self._members_topic, self.group, me)

    async def watch_claims(self, me: Identity) -> None:
        """Run until cancelled; raises Superseded when a younger process claims the member id."""
        await claims.watch(self._bootstrap, self._members_topic, self.group, me)

    async def is_superseded(self, me: Identity) -> bool:
        """Say whether a younger process has claimed the member id by now."""
        return await claims.is_superseded(self._bootstrap, self._members_topic, self.group, me)


async def fence(bootstrap: str, client_id: str, transactional_id: str) -> Producer:
    """Start a transactional producer. Waits until a half-finished commit of the old owner is complete."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        client_id=f"{client_id}.{transactional_id}",
        transactional_id=transactional_id,
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=2 * 1024 * 1024,
        compression_type="lz4",
        request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
    )
    async with asyncio.timeout(TAKE_OVER_TIMEOUT_S):
        await producer.start()
    return producer


async def abandon(producer: Producer) -> None:
    """Close a producer, whatever state it is in. An open transaction is aborted by the next fence."""
    with suppress(TimeoutError, KafkaError, asyncio.InvalidStateError):
        async with asyncio.timeout(5):
            await producer.stop()


async def transact(producer: Producer, events: Sequence[Event], offsets: Mapping[Partition, int], group: str) -> None:
    """Write events, in order per partition, and a group's offsets in one transaction."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await producer.begin_transaction()
            await _send(producer, events)
            if offsets:
                committed = {_tp(partition): offset for partition, offset in offsets.items()}
                await producer.send_offsets_to_transaction(committed, group)
            await producer.commit_transaction()
    except (ProducerFenced, IllegalOperation) as error:
        # the client may learn between two sends that it is fenced, and then refuses the next as no transaction's
        raise Fenced(f"{type(error).__name__}: {error}") from error
    except (KafkaError, TimeoutError) as error:
        raise Aborted(f"{type(error).__name__}: {error}") from error


async def _send(producer: Producer, events: Sequence[Event]) -> None:
    """Send batches built by hand: a quarter of the cost of one send per record."""
    routed: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for item in events:
        partition = item.partition if item.partition is not None else await _partition_of(producer, item)
        routed[item.topic, partition].append(item)
    futures: list[asyncio.Future[Any]] = []
    for (topic, partition), items in routed.items():
        futures += await _send_to(producer, topic, partition, items)
    await asyncio.gather(*futures)


async def _send_to(producer: Producer, topic: str, partition: int, items: Sequence[Event]) -> list[asyncio.Future[Any]]:
    futures: list[asyncio.Future[Any]] = []
    batch = producer.create_batch()
    for item in items:
        if batch.append(timestamp=None, key=item.key, value=item.value, headers=list(item.headers)) is None:
            futures.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=None, key=item.key, value=item.value, headers=list(item.headers))
    batch.close()
    futures.append(await producer.send_batch(batch, topic, partition=partition))
    return futures


async def _partition_of(producer: Producer, item: Event) -> int:
    return partition_for(item.key, len(await producer.partitions_for(item.topic)))


@lru_cache(maxsize=65_536)
def partition_for(key: bytes | None, partitions: int) -> int:
    """Choose a key's partition by murmur2, as Java's client does; records without a key go to partition 0."""
    if key is None:
        return 0
    numbers = list(range(partitions))
    return int(DefaultPartitioner()(key, numbers, numbers))
