"""Read dead letters, and which of them were replayed."""

from collections.abc import Mapping, Sequence

from roadloop_runtime.broker import Aborted
from roadloop_runtime.dead_letter import is_dead_letter_topic
from roadloop_runtime.dead_letters.dead_letters import (
    REPLAYS,
    Count,
    DeadLetterRecord,
    Place,
    add_to_count,
    read_dead_letter,
    read_mark,
)
from roadloop_runtime.kafka.admin import read_partition_counts
from roadloop_runtime.kafka.reader import for_each_record, read_record
from roadloop_runtime.records import Partition, Record


class NoSuchDeadLetter(Exception):
    """There is no such dead letter, or no such dead-letter topic; the message says what there is."""


async def count_dead_letters(bootstrap: str) -> Sequence[Count]:
    """Count the letters of every dead-letter topic by reason, sorted."""
    topics = await read_partition_counts(bootstrap)
    replayed = await read_replayed(bootstrap) if REPLAYS in topics else frozenset()
    counts: dict[str, dict[str, Count]] = {name: {} for name in topics if is_dead_letter_topic(name)}

    async def take(record: Record) -> None:
        dead_letter = read_dead_letter(record)
        by_reason = counts[record.topic]
        by_reason[dead_letter.reason] = add_to_count(by_reason, dead_letter, replayed)

    for name in counts:
        await for_each_record(bootstrap, name, topics[name], take)
    return [count for name in sorted(counts) for _, count in sorted(counts[name].items())]


def refuse_other_topics(topic: str, partitions: Mapping[str, int]) -> None:
    """Raise NoSuchDeadLetter unless a topic is there and takes dead letters."""
    if is_dead_letter_topic(topic) and topic in partitions:
        return
    raise NoSuchDeadLetter(f"{topic} is no dead-letter topic here: `roadloop deadletters list` shows those there are")


async def find_dead_letter(bootstrap: str, topic: str, partition: int, offset: int) -> DeadLetterRecord:
    """Read one letter; raises NoSuchDeadLetter."""
    partitions = await read_partition_counts(bootstrap)
    refuse_other_topics(topic, partitions)
    if not 0 <= partition < partitions[topic]:
        raise NoSuchDeadLetter(f"{topic} has partitions 0 to {partitions[topic] - 1}, not {partition}")
    record = await read_record(bootstrap, Partition(topic, partition), offset)
    if record is None:
        raise NoSuchDeadLetter(f"there is no letter at {topic}/{partition}/{offset}: it expired, or never was there")
    return read_dead_letter(record)


async def read_replayed(bootstrap: str, replays_topic: str = REPLAYS) -> frozenset[Place]:
    """Return the letters replayed so far.

    Read to the high watermark: another topic's open transaction hides marks of ours that are committed behind it,
    so its end is waited for. Raises Aborted where it does not end.
    """
    places: set[Place] = set()

    async def take(record: Record) -> None:
        places.add(read_mark(record))

    try:
        await for_each_record(bootstrap, replays_topic, 1, take, up_to="read_uncommitted")
    except TimeoutError as error:
        raise Aborted(f"a transaction on {replays_topic} stays open") from error
    return frozenset(places)
