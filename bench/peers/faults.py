"""What a program loses or repeats while it is killed, its calls fail, and its output refuses for a while."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import RecordMetadata

from loop import topics
from loop.client import PARTITIONS
from loop.event import make_event
from loop.turns import Program, create_target
from peers.supervised import Supervised, supervise
from peers.work import Task
from roadloop_runtime.kafka import read_lag
from roadloop_runtime.kafka.admin import open_admin
from roadloop_runtime.kafka.lag import Lag
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition
from roadloop_schemas.topics import name_dead_letter_topic

RECORDS_PER_S = 40
REFUSAL_S = 30.0
STANDS_STILL_S = 30.0
ENDS_WITHIN_S = 600.0
Behind = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Fate:
    """What became of the records.

    `lost`: committed, but neither copied nor set aside. `unfinished`: not committed when nothing happened any more.
    `unsettled` counts the kills that met records which were not committed; `ends` how often the program ended itself.
    """

    sent: int
    lost: int
    unfinished: int
    repeated: int
    dead_letters: int
    kills: int
    unsettled: int
    ends: int
    seconds: float


async def suffer(program: Program, task: Task, kills: int) -> Fate:
    """Feed a program, kill it again and again, let its output refuse once; then see what came out."""
    began, dice = time.monotonic(), random.Random(program.name)
    dead_letters = name_dead_letter_topic(task.target, task.source)
    await create_target(task.bootstrap, task.target)
    await topics.create(task.bootstrap, [task.source, dead_letters])
    async with (
        read_lag.connect(task.bootstrap) as clients,
        feed_records(task.bootstrap, task.source) as end_feeding,
        supervise(program, task) as supervised,
    ):
        behind = partial(_read_lag, clients, task)
        unsettled = await _kill(supervised, kills // 2, dice, behind)
        async with refuse_records(task.bootstrap, task.target):
            await asyncio.sleep(REFUSAL_S)
        unsettled += await _kill(supervised, kills - kills // 2, dice, behind)
        sent = await end_feeding()
        await _wait_until_nothing_happens(behind)
        committed_offsets = await _read_committed(clients, task)
    copies, set_aside = Counter(await _read_values(task, task.target)), Counter(await _read_values(task, dead_letters))
    missing = [
        (metadata.partition, metadata.offset)
        for value, metadata in sent.items()
        if not copies[value] and not set_aside[value]
    ]
    return Fate(
        len(sent),
        lost=sum(offset < committed_offsets.get(partition, 0) for partition, offset in missing),
        unfinished=sum(offset >= committed_offsets.get(partition, 0) for partition, offset in missing),
        repeated=sum(copies.values()) + sum(set_aside.values()) - len(copies | set_aside),
        dead_letters=len(set_aside),
        kills=kills,
        unsettled=unsettled,
        ends=supervised.ends,
        seconds=round(time.monotonic() - began, 1),
    )


async def _kill(supervised: Supervised, kills: int, dice: random.Random, behind: Behind) -> int:
    """Kill it some time after its first record, from 5 ms to a second; return how many kills met unsettled records."""
    unsettled = 0
    for _ in range(kills):
        await supervised.wait_until_begun()
        await asyncio.sleep(0.005 * 200 ** dice.random())
        supervised.kill()
        unsettled += await behind() > 0
    return unsettled


@asynccontextmanager
async def feed_records(
    bootstrap: str, topic: str
) -> AsyncIterator[Callable[[], Awaitable[dict[bytes, RecordMetadata]]]]:
    """Write so many records a second; what is yielded ends that, and returns what was acknowledged, and where it is."""
    sent: dict[bytes, RecordMetadata] = {}
    ended = asyncio.Event()

    async def feed() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
            while not ended.is_set():
                event = make_event(len(sent), topic)
                metadata = await producer.send_and_wait(topic, event.value, event.key, headers=list(event.headers))
                sent[event.value or b""] = metadata
                await asyncio.sleep(1 / RECORDS_PER_S)

    task = asyncio.create_task(feed())

    async def end() -> dict[bytes, RecordMetadata]:
        ended.set()
        await task
        return sent

    try:
        yield end
    finally:
        ended.set()
        await task


@asynccontextmanager
async def refuse_records(bootstrap: str, topic: str) -> AsyncIterator[None]:
    """Let a topic refuse what is written to it, and not as if it were for a while: it takes 100 bytes at most."""
    async with open_admin(bootstrap) as client:

        async def take(limit_bytes: int) -> None:
            settings = {"max.message.bytes": str(limit_bytes)}
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)])

        await take(100)
        try:
            yield
        finally:
            await take(2 * 1024 * 1024)


async def _read_lag(clients: read_lag.Clients, task: Task) -> int:
    return sum(lag.records_behind for lag in await _read_lags(clients, task))


async def _read_lags(clients: read_lag.Clients, task: Task) -> Sequence[Lag]:
    return await read_lag.read_lags(clients, {task.target: [task.source]})


async def _read_committed(clients: read_lag.Clients, task: Task) -> dict[int, int]:
    return {lag.partition: lag.committed_offset or 0 for lag in await _read_lags(clients, task)}


async def _wait_until_nothing_happens(behind: Behind) -> None:
    """Wait until all is committed, or nothing has been committed for a long time."""
    least, since = await behind(), time.monotonic()
    until = since + ENDS_WITHIN_S
    while least and time.monotonic() < min(since + STANDS_STILL_S, until):
        await asyncio.sleep(0.5)
        if (lag := await behind()) < least:
            least, since = lag, time.monotonic()


async def _read_values(task: Task, topic: str) -> list[bytes]:
    """Return the values that a read_committed reader sees."""
    records_by_partition = [
        await read_partition(task.bootstrap, Partition(topic, partition)) for partition in range(PARTITIONS)
    ]
    return [record.value or b"" for records in records_by_partition for record in records]
