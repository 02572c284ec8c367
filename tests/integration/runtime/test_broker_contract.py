"""What the runtime asks of a broker: one suite over the real Kafka and over the simulated one.

Whatever the simulation shows of the loop is worth as much as the simulated broker is like the real one.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, cast

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from roadloop_local.addresses import Stack
from roadloop_runtime.broker import Broker, Fenced, Member, OffsetsExpired
from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.kafka import member as kafka_member
from roadloop_runtime.records import Event, Partition, Record
from tests.simulation.servers.broker import SimulatedBroker
from tests.simulation.servers.client import SimulatedKafka
from tests.simulation.servers.log import Log
from tests.simulation.servers.network import Network
from tests.waiting import eventually

pytestmark = pytest.mark.integration
# A member of a slow machine must not be taken for one that is gone: sessions are short only where that is meant.
LONG_SESSION_S, SHORT_SESSION_S = 300.0, 6.0


class Door(Broker, Protocol):
    """A broker with the way to its groups."""

    def member(self, group: str, member: str) -> Member: ...


class Cluster(Protocol):
    """A broker under test, and what only its administrators may do."""

    name: str

    def door(self) -> Door: ...
    async def create(self, topics: Mapping[str, int]) -> None: ...
    async def leave_open(self, transactional_id: str, item: Event) -> None: ...
    async def expire(self, partition: Partition, before: int) -> None: ...
    async def close(self) -> None: ...


@dataclass
class RealCluster:
    """Kafka, with topics of this test's own."""

    stack: Stack
    name: str
    producers: list[AIOKafkaProducer] = field(default_factory=list)

    def door(self) -> Door:
        return Kafka(self.stack.kafka_bootstrap, "contract")

    async def create(self, topics: Mapping[str, int]) -> None:
        await admin.create_topics(
            self.stack.kafka_bootstrap, [NewTopic(name, count, 1) for name, count in topics.items()]
        )

    async def leave_open(self, transactional_id: str, item: Event) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.stack.kafka_bootstrap, transactional_id=transactional_id, linger_ms=0
        )
        self.producers.append(producer)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(item.topic, item.value, item.key, item.partition)

    async def expire(self, partition: Partition, before: int) -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=self.stack.kafka_bootstrap)
        await client.start()
        await client.delete_records({TopicPartition(*partition): RecordsToDelete(before_offset=before)})
        await client.close()

    async def close(self) -> None:
        await asyncio.gather(*(producer.stop() for producer in self.producers), return_exceptions=True)


@dataclass
class SimulatedCluster:
    """The simulated broker, here in real time."""

    name: str
    broker: SimulatedBroker
    network: Network

    def door(self) -> Door:
        return SimulatedKafka(self.broker, self.network)

    async def create(self, topics: Mapping[str, int]) -> None:
        for topic, count in topics.items():
            self.broker.partitions[topic] = count
            self.broker.logs |= {Partition(topic, n): Log(topic, n) for n in range(count)}

    async def leave_open(self, transactional_id: str, item: Event) -> None:
        epoch = self.broker.init_producer(transactional_id)
        self.broker.produce(transactional_id, epoch, -1, Partition(item.topic, item.partition or 0), [item])

    async def expire(self, partition: Partition, before: int) -> None:
        self.broker.logs[partition].expire(before)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def session_s() -> float:
    return LONG_SESSION_S


@pytest.fixture(params=["simulated", "kafka"])
def servers(request: pytest.FixtureRequest) -> Stack | None:
    """The real servers where they are wanted; started outside of the test's event loop."""
    return cast("Stack", request.getfixturevalue("stack")) if request.param == "kafka" else None


@pytest.fixture
async def cluster(servers: Stack | None, session_s: float, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    name = f"contract-{uuid.uuid4().hex[:8]}"
    made: Cluster
    if servers:
        monkeypatch.setattr(kafka_member, "SESSION_TIMEOUT_MS", int(session_s * 1000))
        made = RealCluster(servers, name)
    else:
        dice = Random(name)
        made = SimulatedCluster(name, SimulatedBroker({}, dice, session_s=session_s), Network(dice))
    yield made
    await made.close()


@dataclass
class Seat:
    """A member of a group, and what its callbacks were told."""

    member: Member
    told: list[tuple[str, frozenset[int]]] = field(default_factory=list)
    held: set[Partition] = field(default_factory=set)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        self.told.append(("revoked", numbers(partitions)))
        self.held.clear()

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        self.member.pause(partitions)
        self.told.append(("assigned", numbers(partitions)))
        self.held = set(partitions)

    async def has(self, count: int) -> bool:
        """Poll for nothing, as a live member does, and say how many partitions it holds."""
        await self.member.poll((), 1, 0.01)
        return len(self.held) == count


def numbers(partitions: frozenset[Partition]) -> frozenset[int]:
    return frozenset(partition.partition for partition in partitions)


def events(topic: str, *values: str, partition: int = 0) -> list[Event]:
    return [Event(topic, b"k", value.encode(), (("h", b"1"),), partition) for value in values]


def values(records: Sequence[Record]) -> list[str]:
    return [(record.value or b"").decode() for record in records]


async def write(cluster: Cluster, items: Sequence[Event]) -> None:
    """Write in a transaction of its own, and wait until its markers are written."""
    transactional_id = f"{cluster.name}.{uuid.uuid4().hex}"
    writer = await cluster.door().fence(transactional_id)
    await writer.transact(items, {}, "")
    await writer.close()
    await (await cluster.door().fence(transactional_id)).close()


async def sit(cluster: Cluster, topic: str, member: str) -> Seat:
    """Join a group; whoever calls this leaves it again."""
    seat = Seat(cluster.door().member(cluster.name, member))
    await seat.member.join([topic], seat.revoked, seat.assigned)
    return seat


async def poll_all(seat: Seat, partition: Partition, count: int, most: int = 1_000) -> list[Record]:
    """Poll one partition until so many records came."""
    found: list[Record] = []

    async def enough() -> bool:
        for records in (await seat.member.poll([partition], most, 0.05)).values():
            found.extend(records)
        return len(found) >= count

    await eventually(f"{count} records of {partition}", enough)
    return found


def take(seat: Seat, partition: Partition, offset: int) -> None:
    seat.member.seek(partition, offset)
    seat.member.resume([partition])


@pytest.fixture
async def topic(cluster: Cluster) -> str:
    await cluster.create({f"{cluster.name}.v1": 4})
    return f"{cluster.name}.v1"


# --- transactions --------------------------------------------------------------------------------------------------


async def test_events_and_offsets_become_visible_at_once(cluster: Cluster, topic: str) -> None:
    door, source = cluster.door(), Partition(topic, 3)
    member = door.member(cluster.name, "a")
    seat = Seat(member)
    await member.join([topic], seat.revoked, seat.assigned)
    writer = await door.fence(f"{cluster.name}.w")
    await writer.transact([*events(topic, "1", "2"), *events(topic, "3", partition=1)], {source: 17}, cluster.name)
    # whoever fences the id next waits until every marker is written: what is read after that is final
    await (await door.fence(f"{cluster.name}.w")).close()
    assert values(await door.read(Partition(topic, 0))) == ["1", "2"]
    assert values(await door.read(Partition(topic, 1))) == ["3"]
    assert (await door.read(Partition(topic, 0)))[0].headers == (("h", b"1"),)
    assert await member.committed(source) == 17
    await writer.close()
    await member.leave()


async def test_a_younger_writer_fences_the_older_one(cluster: Cluster, topic: str) -> None:
    older = await cluster.door().fence(f"{cluster.name}.w")
    await older.transact(events(topic, "1"), {}, "")
    younger = await cluster.door().fence(f"{cluster.name}.w")
    with pytest.raises(Fenced):
        await older.transact(events(topic, "no"), {}, "")
    await younger.transact(events(topic, "2"), {}, "")
    await (await cluster.door().fence(f"{cluster.name}.w")).close()
    assert values(await cluster.door().read(Partition(topic, 0))) == ["1", "2"]
    await older.close()
    await younger.close()


async def test_writers_of_different_ids_do_not_fence_each_other(cluster: Cluster, topic: str) -> None:
    one, other = [await cluster.door().fence(f"{cluster.name}.{name}") for name in ("one", "other")]
    for number in range(3):
        await one.transact(events(topic, f"one {number}"), {}, "")
        await other.transact(events(topic, f"other {number}", partition=1), {}, "")
    await (await cluster.door().fence(f"{cluster.name}.one")).close()
    assert values(await cluster.door().read(Partition(topic, 0))) == ["one 0", "one 1", "one 2"]
    await one.close()
    await other.close()


async def test_an_open_transaction_hides_what_is_behind_it_until_the_next_writer_aborts_it(
    cluster: Cluster, topic: str
) -> None:
    await write(cluster, events(topic, "1"))
    await cluster.leave_open(f"{cluster.name}.w", events(topic, "never")[0])
    await write(cluster, events(topic, "2"))
    assert values(await cluster.door().read(Partition(topic, 0))) == ["1"]
    writer = await cluster.door().fence(f"{cluster.name}.w")

    async def shown() -> bool:
        return values(await cluster.door().read(Partition(topic, 0))) == ["1", "2"]

    await eventually("what was hidden is shown", shown)
    await writer.close()


async def test_order_in_a_partition_is_that_of_the_transaction(cluster: Cluster, topic: str) -> None:
    wanted = [str(number) for number in range(500)]
    await write(cluster, events(topic, *wanted))
    assert values(await cluster.door().read(Partition(topic, 0))) == wanted


# --- reading without a group ---------------------------------------------------------------------------------------


async def test_following_gives_the_newest_of_what_is_there_and_what_comes(cluster: Cluster) -> None:
    name = f"{cluster.name}.state"
    await cluster.create({name: 1})
    seen: list[str] = []

    async def look(record: Record) -> None:
        seen.append((record.value or b"").decode())

    for value in (b"0", b"1"):
        await cluster.door().write(Event(name, b"k", value, (), 0))
    following = asyncio.create_task(cluster.door().follow(name, look))

    async def saw(wanted: list[str]) -> bool:
        return seen == wanted

    await eventually("what is there", lambda: saw(["1"]))
    await cluster.door().write(Event(name, b"k", b"2", (), 0))
    await eventually("what comes", lambda: saw(["1", "2"]))
    following.cancel()
    await asyncio.wait([following])


# --- a member ------------------------------------------------------------------------------------------------------


async def test_nothing_comes_before_a_seek_where_nothing_was_committed(cluster: Cluster, topic: str) -> None:
    partition = Partition(topic, 0)
    await write(cluster, events(topic, "1", "2", "3"))
    seat = await sit(cluster, topic, "a")
    await eventually("all partitions", lambda: seat.has(4))
    seat.member.resume([partition])
    assert await seat.member.poll([partition], 10, 0.3) == {}
    take(seat, partition, 1)
    assert values(await poll_all(seat, partition, 2)) == ["2", "3"]
    await seat.member.leave()


async def test_a_paused_partition_gives_nothing_and_goes_on_where_it_was(cluster: Cluster, topic: str) -> None:
    partition = Partition(topic, 0)
    await write(cluster, events(topic, "1", "2", "3", "4"))
    seat = await sit(cluster, topic, "a")
    await eventually("all partitions", lambda: seat.has(4))
    take(seat, partition, 0)
    assert values(await poll_all(seat, partition, 2, most=2)) == ["1", "2"]
    seat.member.pause([partition])
    assert await seat.member.poll([partition], 2, 0.3) == {}
    seat.member.resume([partition])
    assert values(await poll_all(seat, partition, 2, most=2)) == ["3", "4"]
    take(seat, partition, 1)
    assert values(await poll_all(seat, partition, 3)) == ["2", "3", "4"]
    await seat.member.leave()


async def test_the_position_passes_markers_and_what_was_aborted(cluster: Cluster, topic: str) -> None:
    partition = Partition(topic, 0)
    await write(cluster, events(topic, "1"))
    await cluster.leave_open(f"{cluster.name}.w", events(topic, "never")[0])
    await (await cluster.door().fence(f"{cluster.name}.w")).close()
    seat = await sit(cluster, topic, "a")
    await eventually("all partitions", lambda: seat.has(4))
    take(seat, partition, 0)
    (record,) = await poll_all(seat, partition, 1)

    async def passed() -> bool:  # a record, its marker, the aborted record and its marker
        assert await seat.member.poll([partition], 10, 0.05) == {}
        return await seat.member.position(partition) == record.offset + 4

    await eventually("the position is behind the markers", passed)
    await seat.member.leave()


async def test_expired_records_are_never_skipped_silently(cluster: Cluster, topic: str) -> None:
    partition = Partition(topic, 0)
    await write(cluster, events(topic, "1", "2", "3"))
    await cluster.expire(partition, 2)
    seat = await sit(cluster, topic, "a")
    await eventually("all partitions", lambda: seat.has(4))
    log = await seat.member.log_of(partition)
    assert (log.start, log.end) == (2, 4), "the end is behind the transaction's marker"
    take(seat, partition, 1)
    with pytest.raises(OffsetsExpired):
        await poll_all(seat, partition, 1)
    await seat.member.leave()


async def test_a_committed_copy_is_read_back_and_overwritten(cluster: Cluster, topic: str) -> None:
    partition = Partition(topic, 2)
    seat = await sit(cluster, topic, "a")
    await eventually("all partitions", lambda: seat.has(4))
    assert await seat.member.committed(partition) is None
    for offset in (5, 9):
        await seat.member.commit({partition: offset})
        assert await seat.member.committed(partition) == offset
    await seat.member.leave()


# --- a group -------------------------------------------------------------------------------------------------------


async def test_a_second_member_makes_the_first_give_back_all_and_share(cluster: Cluster, topic: str) -> None:
    first = await sit(cluster, topic, "a")
    await eventually("all partitions", lambda: first.has(4))
    joining = asyncio.create_task(sit(cluster, topic, "b"))
    await eventually("half of them", lambda: first.has(2))
    second = await joining
    await eventually("the other half", lambda: second.has(2))
    everything, nothing = frozenset(range(4)), frozenset[int]()
    assert first.told[:3] == [("revoked", nothing), ("assigned", everything), ("revoked", everything)]
    assert first.held | second.held == {Partition(topic, number) for number in range(4)}
    await first.member.leave()
    await second.member.leave()


async def test_a_static_member_that_comes_back_in_time_disturbs_nobody(cluster: Cluster, topic: str) -> None:
    first, second = await two_members(cluster, topic)
    before, told = set(second.held), list(first.told)
    await second.member.leave()
    back = await sit(cluster, topic, "b")
    await eventually("its partitions of before", lambda: back.has(2))
    assert (back.held, first.told) == (before, told)
    await first.member.leave()
    await back.member.leave()


@pytest.mark.parametrize("session_s", [SHORT_SESSION_S])
async def test_a_member_that_is_gone_is_replaced_after_its_session(cluster: Cluster, topic: str) -> None:
    first, second = await two_members(cluster, topic)
    await second.member.leave()
    await eventually("all partitions again", lambda: first.has(4))
    await first.member.leave()


async def two_members(cluster: Cluster, topic: str) -> tuple[Seat, Seat]:
    first, second = await asyncio.gather(sit(cluster, topic, "a"), sit(cluster, topic, "b"))

    async def shared() -> bool:
        return await first.has(2) and await second.has(2)

    await eventually("both have two partitions", shared)
    return first, second


async def test_a_callback_that_raises_does_not_end_the_member(cluster: Cluster, topic: str) -> None:
    seat = Seat(cluster.door().member(cluster.name, "a"))

    async def broken(_partitions: frozenset[Partition]) -> None:
        raise RuntimeError("broken")

    await seat.member.join([topic], broken, seat.assigned)
    other = asyncio.create_task(sit(cluster, topic, "b"))
    await eventually("half of the partitions", lambda: seat.has(2))
    await seat.member.leave()
    await (await other).member.leave()


async def test_who_holds_a_partition_no_more_may_not_seek_in_it(cluster: Cluster, topic: str) -> None:
    seat = await sit(cluster, topic, "a")
    await eventually("all partitions", lambda: seat.has(4))
    gone: Any = Partition(f"{topic}.other", 0)
    with pytest.raises(Exception, match="assign"):
        seat.member.seek(gone, 0)
    await seat.member.leave()
