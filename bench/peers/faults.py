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
from loop.event import number
from loop.turns import Program, create_target
from peers.supervised import Supervised, supervise
from peers.work import Task
from roadloop_runtime.kafka import lag_read
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
    letters = name_dead_letter_topic(task.target, task.source)
    await create_target(task.bootstrap, task.target)
    await topics.create(task.bootstrap, [task.source, letters])
    async with (
        lag_read.connect(task.bootstrap) as clients,
        feeding(task.bootstrap, task.source) as fed,
        supervise(program, task) as running,
    ):
        behind = partial(_lag, clients, task)
        unsettled = await _kill(running, kills // 2, dice, behind)
        async with refusing(task.bootstrap, task.target):
            await asyncio.sleep(REFUSAL_S)
        unsettled += await _kill(running, kills - kills // 2, dice, behind)
        sent = await fed()
        await _until_nothing_happens(behind)
        done = await _committed(clients, task)
    copies, died = Counter(await _values(task, task.target)), Counter(await _values(task, letters))
    missing = [(at.partition, at.offset) for value, at in sent.items() if not copies[value] and not died[value]]
    return Fate(
        len(sent),
        lost=sum(offset < done.get(partition, 0) for partition, offset in missing),
        unfinished=sum(offset >= done.get(partition, 0) for partition, offset in missing),
        repeated=sum(copies.values()) + sum(died.values()) - len(copies | died),
        dead_letters=len(died),
        kills=kills,
        unsettled=unsettled,
        ends=running.ends,
        seconds=round(time.monotonic() - began, 1),
    )


async def _kill(running: Supervised, kills: int, dice: random.Random, behind: Behind) -> int:
    """Kill it some time after its first record, from 5 ms to a second; return how many kills met unsettled records."""
    met = 0
    for _ in range(kills):
        await running.begins()
        await asyncio.sleep(0.005 * 200 ** dice.random())
        running.kill()
        met += await behind() > 0
    return met


@asynccontextmanager
async def feeding(bootstrap: str, topic: str) -> AsyncIterator[Callable[[], Awaitable[dict[bytes, RecordMetadata]]]]:
    """Write so many records a second; what is yielded ends that, and returns what was acknowledged, and where it is."""
    sent: dict[bytes, RecordMetadata] = {}
    over = asyncio.Event()

    async def feed() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
            while not over.is_set():
                made = number(len(sent), topic)
                at = await producer.send_and_wait(topic, made.value, made.key, headers=list(made.headers))
                sent[made.value or b""] = at
                await asyncio.sleep(1 / RECORDS_PER_S)

    task = asyncio.create_task(feed())

    async def end() -> dict[bytes, RecordMetadata]:
        over.set()
        await task
        return sent

    try:
        yield end
    finally:
        over.set()
        await task


@asynccontextmanager
async def refusing(bootstrap: str, topic: str) -> AsyncIterator[None]:
    """Let a topic refuse what is written to it, and not as if it were for a while: it takes 100 bytes at most."""
    async with open_admin(bootstrap) as client:

        async def take(limit_bytes: int) -> None:
            wanted = {"max.message.bytes": str(limit_bytes)}
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=wanted)])

        await take(100)
        try:
            yield
        finally:
            await take(2 * 1024 * 1024)


async def _lag(clients: lag_read.Clients, task: Task) -> int:
    return sum(lag.records_behind for lag in await _lags(clients, task))


async def _lags(clients: lag_read.Clients, task: Task) -> Sequence[Lag]:
    return await lag_read.read_lags(clients, {task.target: [task.source]})


async def _committed(clients: lag_read.Clients, task: Task) -> dict[int, int]:
    return {lag.partition: lag.committed_offset or 0 for lag in await _lags(clients, task)}


async def _until_nothing_happens(behind: Behind) -> None:
    """Wait until all is committed, or nothing has been committed for a long time."""
    least, since = await behind(), time.monotonic()
    until = since + ENDS_WITHIN_S
    while least and time.monotonic() < min(since + STANDS_STILL_S, until):
        await asyncio.sleep(0.5)
        if (lag := await behind()) < least:
            least, since = lag, time.monotonic()


async def _values(task: Task, topic: str) -> list[bytes]:
    """Return the values that a read_committed reader sees."""
    read = [await read_partition(task.bootstrap, Partition(topic, partition)) for partition in range(PARTITIONS)]
    return [record.value or b"" for records in read for record in records]
