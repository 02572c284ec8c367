"""Read dead letters, and which of them were replayed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from roadloop_runtime.admin import open_admin, partition_counts
from roadloop_runtime.deadletter import is_dead_letter_topic
from roadloop_runtime.kafka import Aborted
from roadloop_runtime.kafka_read import REQUEST_TIMEOUT_S, open_reader
from roadloop_runtime.letters import REPLAYS, Count, Letter, Place, count, read_letter, read_mark
from roadloop_runtime.records import Record

STALLED_S = 90.0  # a transaction that is left open ends after 60 s, and its broker looks every 10 s

Take = Callable[[Record], Awaitable[None]]


class NoSuchLetter(Exception):
    """There is no such dead letter, or no such dead-letter topic; the message says what there is."""


async def count_letters(bootstrap: str) -> Sequence[Count]:
    """Count the letters of every dead-letter topic by reason, sorted."""
    topics = await topics_of(bootstrap)
    replayed = await read_replayed(bootstrap) if REPLAYS in topics else frozenset()
    counts: dict[str, dict[str, Count]] = {name: {} for name in topics if is_dead_letter_topic(name)}

    async def take(record: Record) -> None:
        letter = read_letter(record)
        of_topic = counts[record.topic]
        of_topic[letter.reason] = count(of_topic, letter, replayed)

    for name in counts:
        await each_record(bootstrap, name, topics[name], take)
    return [found for name in sorted(counts) for _, found in sorted(counts[name].items())]


async def topics_of(bootstrap: str) -> Mapping[str, int]:
    """Return the partition counts of all topics."""
    async with open_admin(bootstrap) as admin:
        return await partition_counts(admin)


def refuse_other_topics(topic: str, partitions: Mapping[str, int]) -> None:
    """Raise NoSuchLetter unless a topic is there and takes dead letters."""
    if is_dead_letter_topic(topic) and topic in partitions:
        return
    raise NoSuchLetter(f"{topic} is no dead-letter topic here: `roadloop deadletters list` shows those there are")


async def find_letter(bootstrap: str, topic: str, partition: int, offset: int) -> Letter:
    """Read one letter; raises NoSuchLetter."""
    partitions = await topics_of(bootstrap)
    refuse_other_topics(topic, partitions)
    if not 0 <= partition < partitions[topic]:
        raise NoSuchLetter(f"{topic} has partitions 0 to {partitions[topic] - 1}, not {partition}")
    async with open_reader(bootstrap) as reader:
        letter = await _read_one(reader, TopicPartition(topic, partition), offset)
    if letter is None:
        raise NoSuchLetter(f"there is no letter at {topic}/{partition}/{offset}: it expired, or never was there")
    return letter


async def _read_one(reader: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> Letter | None:
    """Read the record at an offset; offsets out of range are not asked for, for they would be another record's."""
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        start = (await reader.beginning_offsets([tp]))[tp]
        end = (await reader.end_offsets([tp]))[tp]
        if not start <= offset < end:
            return None
        reader.assign([tp])
        reader.seek(tp, offset)
        while await reader.position(tp) <= offset:
            records = (await reader.getmany(tp, timeout_ms=200, max_records=1)).get(tp, [])
            if records:
                return read_letter(records[0]) if records[0].offset == offset else None
    return None


async def read_replayed(bootstrap: str, replays_topic: str = REPLAYS) -> frozenset[Place]:
    """Return the letters replayed so far.

    Read to the high watermark: another topic's open transaction hides marks of ours that are committed behind it,
    so its end is waited for. Raises Aborted where it does not end.
    """
    places: set[Place] = set()

    async def take(record: Record) -> None:
        places.add(read_mark(record))

    tp = TopicPartition(replays_topic, 0)
    async with open_reader(bootstrap, "read_uncommitted") as ends, open_reader(bootstrap) as reader:
        try:
            await _read_up_to(reader, await _ends(ends, [tp]), take)
        except TimeoutError as error:
            raise Aborted(f"a transaction on {replays_topic} stays open") from error
    return frozenset(places)


async def each_record(bootstrap: str, topic: str, partitions: int, take: Take) -> None:
    """Hand over every committed record of a topic up to its end as of now."""
    async with open_reader(bootstrap) as reader:
        ends = await _ends(reader, [TopicPartition(topic, number) for number in range(partitions)])
        await _read_up_to(reader, ends, take)


async def _ends(reader: AIOKafkaConsumer, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        ends: Mapping[TopicPartition, int] = await reader.end_offsets(partitions)
    return ends


async def _read_up_to(reader: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], take: Take) -> None:
    """Hand over records from the start up to the ends; raises TimeoutError where nothing moves for STALLED_S."""
    reader.assign(list(ends))
    await reader.seek_to_beginning(*ends)
    async with asyncio.timeout(STALLED_S) as stalled:
        while left := [tp for tp, end in ends.items() if await reader.position(tp) < end]:
            found = await reader.getmany(*left, timeout_ms=200)
            for tp, records in found.items():
                for record in records:
                    if record.offset < ends[tp]:
                        await take(record)
            if found:
                stalled.reschedule(asyncio.get_running_loop().time() + STALLED_S)
