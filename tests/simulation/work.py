"""What the simulated workers do with a record, and what a calm run would make of all of them.

A record's value says how it behaves: `NUMBER KIND ARGUMENT`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

import immutables

from roadloop_runtime.handler import Handler
from roadloop_runtime.outcome import DeadLetter, Emit, LoopReason, Outcome, Skip, Transient, Undecodable
from roadloop_runtime.records import Event, Record
from roadloop_schemas.topics import name_dead_letter_topic

GROUP = "copy"
SOURCE, TARGET, MEMORY = "in.v1", "out.v1", "memory.v1"
LETTERS = name_dead_letter_topic(GROUP, SOURCE)
PARTITIONS = 4
KEYS = 12
TOPICS = {
    SOURCE: PARTITIONS,
    TARGET: PARTITIONS,
    MEMORY: PARTITIONS,
    LETTERS: PARTITIONS,
    "runtime.members.v1": 1,
    f"{GROUP}.outbox.v1": 1,
}
STORE = "store"

Counts = immutables.Map[bytes, int]
StoreIsUp = Callable[[], bool]


class Job(NamedTuple):
    """A decoded record."""

    number: int
    kind: str
    argument: int
    record: Record


# kind -> how often in a thousand, with the range of its argument
KINDS = {
    "plain": (700, 0),
    "slow": (120, 60),  # milliseconds in observe
    "two": (40, 0),  # two events
    "skip": (30, 0),
    "poison": (20, 0),  # does not decode
    "flaky": (30, 2),  # so many transient failures, then it works
    "failing": (10, 0),  # fails for ever, while its dependency's canary passes
    "broken": (15, 0),  # observe raises
    "cancelled": (10, 0),  # observe raises CancelledError, as code that lost an inner task does
    "undecidable": (15, 0),  # decide raises
    "hanging": (10, 900),  # milliseconds: waits long, then fails once, then works
}


def write(number: int, dice: Random) -> Event:
    """Draw a record."""
    kind = dice.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
    argument = dice.randint(1, KINDS[kind][1]) if KINDS[kind][1] else 0
    key = f"k{dice.randrange(KEYS)}"
    return Event(SOURCE, key.encode(), f"{number} {kind} {argument}".encode(), (), number % PARTITIONS)


def decode(record: Record) -> Job:
    number, kind, argument = (record.value or b"").decode().split()
    if kind == "poison":
        raise Undecodable(DeadLetter(LoopReason.UNDECODABLE, "poison"))
    return Job(int(number), kind, int(argument), record)


def observer(store_is_up: StoreIsUp) -> Callable[[Job], Awaitable[Job]]:
    """Make the observe of one worker: it remembers how often a record has failed it."""
    failures: dict[int, int] = {}

    async def observe(job: Job) -> Job:
        if job.kind in ("slow", "flaky", "hanging", "failing") and not store_is_up():
            raise Transient(STORE, "it is down")
        if job.kind == "slow":
            await asyncio.sleep(job.argument / 1000)
        elif job.kind == "broken":
            raise ValueError("broken")
        elif job.kind == "cancelled":
            raise asyncio.CancelledError
        elif job.kind == "failing":
            raise Transient(STORE, "for ever")
        elif job.kind in ("flaky", "hanging"):
            await _fail_at_first(job, failures)
        return job

    return observe


async def _fail_at_first(job: Job, failures: dict[int, int]) -> None:
    wanted = job.argument if job.kind == "flaky" else 1
    if job.kind == "hanging":
        await asyncio.sleep(job.argument / 1000)
    if failures.get(job.number, 0) < wanted:
        failures[job.number] = failures.get(job.number, 0) + 1
        raise Transient(STORE, "at first")


def decide(counts: Counts, job: Job, to_postgres: bool) -> tuple[Counts, Outcome]:
    """Count per key, and say the count: so every output shows what was remembered."""
    if job.kind == "undecidable":
        raise ValueError("undecidable")
    if job.kind == "skip":
        return counts, Skip(LoopReason.UNDECODABLE)
    key = job.record.key or b""
    count = counts.get(key, 0) + 1
    events = tuple(
        Event(TARGET, key, f"{job.number} {nth} {count}".encode(), (), job.record.partition)
        for nth in range(2 if job.kind == "two" else 1)
    )
    changes = ((job.record.partition, key, count),) if to_postgres else ()
    return counts.set(key, count), Emit(events, changes)


def remember(partition: int, old: Counts, new: Counts) -> Iterable[Event]:
    return [
        Event(MEMORY, key, str(count).encode(), (), partition) for key, count in new.items() if old.get(key) != count
    ]


def remembered(records: Sequence[Record]) -> Counts:
    return immutables.Map({record.key or b"": int(record.value or 0) for record in records})


GIVEN_UP = ("poison", "failing", "broken", "cancelled", "undecidable")


class Calm(NamedTuple):
    """What a calm run makes of one partition's records: outputs and dead letters in order, and what it remembers."""

    outputs: tuple[bytes, ...]
    letters: tuple[bytes, ...]
    counts: dict[bytes, int]


def calm(records: Sequence[Record]) -> Calm:
    """Work through one partition without any fault. Nothing of the loop is used here."""
    outputs: list[bytes] = []
    letters: list[bytes] = []
    counts: dict[bytes, int] = {}
    for record in records:
        number, kind, _ = (record.value or b"").decode().split()
        if kind in GIVEN_UP:
            letters.append(record.value or b"")
        elif kind != "skip":
            key = record.key or b""
            counts[key] = counts.get(key, 0) + 1
            outputs += [f"{number} {nth} {counts[key]}".encode() for nth in range(2 if kind == "two" else 1)]
    return Calm(tuple(outputs), tuple(letters), counts)


def handler(
    rebuild: Callable[[int], Awaitable[Counts]], store_is_up: StoreIsUp, *, to_postgres: bool
) -> Handler[Job, Job, Counts, bool]:
    """Make the handler of one worker."""

    async def canary() -> bool:
        return store_is_up()

    look, canaries = observer(store_is_up), {STORE: canary}
    if to_postgres:
        return Handler(
            decode=decode, observe=look, decide=decide, rebuild=rebuild, policy=lambda: True, canaries=canaries
        )
    return Handler(
        decode=decode,
        observe=look,
        decide=decide,
        rebuild=rebuild,
        policy=lambda: False,
        remember=remember,
        is_new=lambda counts: not counts,
        canaries=canaries,
    )
