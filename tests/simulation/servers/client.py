"""A process's side of the simulated broker: the same answers as `roadloop_runtime.kafka` gives over a real client."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from roadloop_runtime.broker import Aborted, Fenced, Log, OffsetsExpired, Rebalanced, Take
from roadloop_runtime.records import Event, Partition, Record
from tests.simulation.servers.broker import OutOfRange, ProducerFenced, Refused, SimulatedBroker
from tests.simulation.servers.groups import Assignment, Group, Rebalancing, UnknownMember
from tests.simulation.servers.log import Entry
from tests.simulation.servers.network import Lost, Network

KAFKA = "kafka"
LIMIT_S = 2.0
TAKE_OVER_LIMIT_S = 8.0
HEARTBEAT_S = 0.3
FOLLOW_S = 0.4


class SimulatedKafka:
    """The cluster as one process sees it."""

    def __init__(self, broker: SimulatedBroker, network: Network) -> None:
        self.cluster = broker
        self.network = network

    def member(self, group: str, member: str) -> "SimulatedMember":
        return SimulatedMember(self, group, member)

    async def fence(self, transactional_id: str) -> "SimulatedWriter":
        async with asyncio.timeout(TAKE_OVER_LIMIT_S):
            epoch = await self.network.insist(KAFKA, self.cluster.init_producer, transactional_id)
        return SimulatedWriter(self, transactional_id, epoch)

    async def read(self, partition: Partition) -> Sequence[Record]:
        async with asyncio.timeout(TAKE_OVER_LIMIT_S):
            found: Sequence[Record] = await self.network.insist(KAFKA, self.cluster.read_all, partition)
        return found

    async def write(self, item: Event) -> None:
        async with asyncio.timeout(TAKE_OVER_LIMIT_S):
            await self.network.insist(KAFKA, self.cluster.append, Partition(item.topic, item.partition or 0), item)

    async def follow(self, topic: str, take: Take) -> None:
        partition, position = Partition(topic, 0), 0
        newest: dict[bytes | None, Entry] = {}
        try:
            while True:
                found = await self.network.insist(KAFKA, self.cluster.fetch, {partition: position}, 1_000)
                records, position = found[partition]
                newest |= {record.key: record for record in records}
                if position >= self.cluster.log_of(partition).end:
                    for record in newest.values():
                        await take(record)
                    newest = {}
                await asyncio.sleep(FOLLOW_S)
        finally:
            await self.goodbye()

    async def goodbye(self) -> None:
        """Close a connection: it takes its time."""
        await asyncio.sleep(self.network.goodbye_s())


class SimulatedWriter:
    """One epoch of a transactional id."""

    requests = count()

    def __init__(self, kafka: SimulatedKafka, transactional_id: str, epoch: int) -> None:
        self._kafka = kafka
        self._id = (transactional_id, epoch)

    async def transact(self, events: Sequence[Event], offsets: Mapping[Partition, int], group: str) -> None:
        cluster, insist = self._kafka.cluster, self._kafka.network.insist
        routed: dict[Partition, list[Event]] = {}
        for item in events:
            routed.setdefault(Partition(item.topic, item.partition or 0), []).append(item)
        try:
            async with asyncio.timeout(LIMIT_S):
                for to, items in routed.items():
                    await insist(KAFKA, cluster.produce, *self._id, next(self.requests), to, items)
                if offsets:
                    await insist(KAFKA, cluster.add_offsets, *self._id, next(self.requests), group, dict(offsets))
                await insist(KAFKA, cluster.commit, *self._id, next(self.requests))
        except ProducerFenced as error:
            raise Fenced(str(error)) from error
        except (Refused, TimeoutError) as error:
            raise Aborted(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """An open transaction stays open until the next writer of the id."""
        await self._kafka.goodbye()


class SimulatedMember:
    """A member's client: positions, pauses, heartbeats, and callbacks inside of rebalances."""

    def __init__(self, broker: SimulatedKafka, group: str, member: str) -> None:
        self.broker = broker
        self.group = group
        self._instance = member
        self._member_id = self._generation = 0
        self._positions: dict[Partition, int | None] = {}
        self._paused: set[Partition] = set()
        self._ready = asyncio.Event()
        self._coordinating: asyncio.Task[None] | None = None

    async def join(self, topics: Collection[str], revoked: Rebalanced, assigned: Rebalanced) -> None:
        self._coordinating = asyncio.get_running_loop().create_task(self._coordinate(topics, revoked, assigned))
        await self._ready.wait()

    async def leave(self) -> None:
        """A static member says nothing: it keeps its place for the session timeout.

        Waits for a callback under way without a limit, which is harsher than the real one.
        """
        if self._coordinating is not None:
            self._coordinating.cancel()
            await asyncio.wait([self._coordinating])

    async def _coordinate(self, topics: Collection[str], revoked: Rebalanced, assigned: Rebalanced) -> None:
        while True:
            await self._join_anew(topics, revoked, assigned)
            self._ready.set()
            with suppress(Rebalancing):
                while True:
                    await asyncio.sleep(HEARTBEAT_S)
                    await self._beat()

    async def _join_anew(self, topics: Collection[str], revoked: Rebalanced, assigned: Rebalanced) -> None:
        beating = asyncio.get_running_loop().create_task(self._beat_on())
        await self._told(revoked, frozenset(self._positions))
        beating.cancel()
        group = self.broker.cluster.group(self.group)
        got = await self._take_seat(group, list(topics))
        self._member_id, self._generation = got.member_id, got.generation
        self._positions = {partition: got.stale.get(partition) for partition in sorted(got.partitions)}
        self._paused.clear()
        await self._told(assigned, got.partitions)

    async def _take_seat(self, group: Group, topics: Sequence[str]) -> Assignment:
        """Join until there is a seat: a twin may take it away while one waits."""
        while True:
            try:
                got: Assignment = await self._insist(group.join, self._instance, self._member_id, topics)
            except UnknownMember:
                self._member_id = 0
                await asyncio.sleep(HEARTBEAT_S)
            else:
                return got

    async def _told(self, callback: Rebalanced, partitions: frozenset[Partition]) -> None:
        with suppress(Exception):  # the client logs what a listener raises, and goes on
            await callback(partitions)

    async def _beat(self) -> None:
        group = self.broker.cluster.group(self.group)
        try:
            await self.broker.network.call(KAFKA, group.heartbeat, self._member_id, self._generation)
        except UnknownMember:
            self._member_id = 0
            raise Rebalancing from None
        except Lost:
            return

    async def _beat_on(self) -> None:
        """Heartbeats go on while the listener gives partitions back."""
        while True:
            with suppress(Rebalancing):
                await self._beat()
            await asyncio.sleep(HEARTBEAT_S)

    async def poll(
        self, partitions: Iterable[Partition], max_records: int, timeout_s: float
    ) -> Mapping[Partition, Sequence[Record]]:
        asked = {
            partition: position
            for partition in partitions
            if (position := self._positions.get(partition)) is not None and partition not in self._paused
        }
        found: dict[Partition, Sequence[Record]] = {}
        if asked:
            try:
                answer = await self._insist(self.broker.cluster.fetch, asked, max_records)
            except OutOfRange as error:
                raise OffsetsExpired(str(error)) from error
            for partition, (records, position) in answer.items():
                if self._positions.get(partition) == asked[partition] and partition not in self._paused:
                    self._positions[partition] = position
                    if records:
                        found[partition] = records
        if not found:
            await asyncio.sleep(timeout_s)
        return found

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._paused.update(partition for partition in partitions if partition in self._positions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._paused.difference_update(partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        if partition not in self._positions:
            raise LookupError(f"{partition} is not assigned")
        self._positions[partition] = offset

    async def position(self, partition: Partition) -> int:
        position = self._positions.get(partition)
        if position is None:
            raise LookupError(f"{partition} has no position")
        return position

    async def log_of(self, partition: Partition) -> Log:
        async with asyncio.timeout(LIMIT_S):
            log: Log = await self._insist(self.broker.cluster.log_of, partition)
        return log

    async def committed(self, partition: Partition) -> int | None:
        async with asyncio.timeout(LIMIT_S):
            offset: int | None = await self._insist(self.broker.cluster.committed, self.group, partition)
        return offset

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        async with asyncio.timeout(LIMIT_S):
            await self._insist(self.broker.cluster.commit_offsets, self.group, self._member_id, dict(offsets))

    async def _insist(self, request: Callable[..., Any], *args: Any) -> Any:
        return await self.broker.network.insist(KAFKA, request, *args)
