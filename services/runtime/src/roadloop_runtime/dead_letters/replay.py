"""Write dead letters back to where they came from: each once, however often one asks."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from roadloop_runtime.dead_letters.dead_letters import (
    REPLAYS,
    Choice,
    DeadLetterRecord,
    Fate,
    Place,
    count_bytes,
    decide_fate,
    read_dead_letter,
    to_batch,
)
from roadloop_runtime.dead_letters.read import read_replayed, refuse_other_topics
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.kafka.admin import check_topics_of_service, read_partition_counts
from roadloop_runtime.kafka.reader import for_each_record
from roadloop_runtime.records import Record

DEAD_LETTERS_PER_TRANSACTION = 500
BYTES_PER_TRANSACTION = 8 * 1024 * 1024

Write = Callable[[Sequence[DeadLetterRecord]], Awaitable[None]]


async def replay(bootstrap: str, topic: str, choice: Choice, *, replays_topic: str = REPLAYS) -> Mapping[Fate, int]:
    """Replay the chosen letters there are now, in the order of their offsets; return how many had which fate.

    First the producer fences every other replay of this topic, only then the marks are read: so nobody can replay
    a letter in between. Raises NoSuchLetter, Fenced or Aborted; what was durable by then is not written again.
    """
    partitions = await _prepare_topics(bootstrap, topic, replays_topic)
    writer = await Kafka(bootstrap, "roadloop").fence(f"roadloop.deadletters.{topic}")

    async def write(dead_letters: Sequence[DeadLetterRecord]) -> None:
        await writer.transact(to_batch(dead_letters, replays_topic), {}, "")

    try:
        walk = _Walk(choice, await read_replayed(bootstrap, replays_topic), partitions, write)
        return await _walk_through(walk, bootstrap, topic)
    finally:
        await writer.close()


async def rehearse(
    bootstrap: str, topic: str, choice: Choice, write: Write, *, replays_topic: str = REPLAYS
) -> Mapping[Fate, int]:
    """Do as `replay` does, but hand the letters to `write`; nothing is fenced and nothing remembered."""
    partitions = await _prepare_topics(bootstrap, topic, replays_topic)
    walk = _Walk(choice, await read_replayed(bootstrap, replays_topic), partitions, write)
    return await _walk_through(walk, bootstrap, topic)


async def _prepare_topics(bootstrap: str, topic: str, replays_topic: str) -> Mapping[str, int]:
    partitions = await read_partition_counts(bootstrap)
    refuse_other_topics(topic, partitions)
    if replays_topic not in partitions:
        await check_topics_of_service(bootstrap, [replays_topic])
    return partitions


class _Walk:
    """Goes through letters, writes the chosen ones in batches and counts what became of each."""

    def __init__(self, choice: Choice, replayed: frozenset[Place], partitions: Mapping[str, int], write: Write) -> None:
        self.fates: Counter[Fate] = Counter()
        self._choice = choice
        self._replayed = replayed
        self.partitions = partitions
        self._write = write
        self._batch: list[DeadLetterRecord] = []
        self._bytes = 0

    async def take(self, record: Record) -> None:
        dead_letter = read_dead_letter(record)
        fate = decide_fate(dead_letter, self._choice, self._replayed, self.partitions)
        if fate is not Fate.REPLAYED:
            self.fates[fate] += 1
            return
        self._batch.append(dead_letter)
        self._bytes += count_bytes(dead_letter)
        if len(self._batch) >= DEAD_LETTERS_PER_TRANSACTION or self._bytes >= BYTES_PER_TRANSACTION:
            await self.flush()

    async def flush(self) -> None:
        """Write what is left; it counts as replayed once it is durable."""
        batch, self._batch, self._bytes = self._batch, [], 0
        if batch:
            await self._write(batch)
            self.fates[Fate.REPLAYED] += len(batch)


async def _walk_through(walk: _Walk, bootstrap: str, topic: str) -> Mapping[Fate, int]:
    await for_each_record(bootstrap, topic, walk.partitions[topic], walk.take)
    await walk.flush()
    return walk.fates
