"""A downstream team: reads the public topics as a read_committed subscriber."""

from collections import Counter
from collections.abc import Iterable
from typing import cast

from aiokafka import TopicPartition

from roadloop_runtime.kafka.reader import open_reader
from roadloop_runtime.records import Record
from roadloop_schemas.topics import read_topic_files


async def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """Return every committed record of a topic, partition by partition."""
    return await read_topics(bootstrap, (topic,))


async def read_topics(bootstrap: str, names: Iterable[str]) -> list[Record]:
    """Return every committed record of topics, by one consumer: topic by topic, partition by partition."""
    tps = [TopicPartition(name, number) for name in names for number in range(read_topic_files()[name].partitions)]
    records: dict[TopicPartition, list[Record]] = {tp: [] for tp in tps}
    async with open_reader(bootstrap) as consumer:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        await consumer.seek_to_beginning(*tps)
        while unread_tps := [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for tp, batch in (await consumer.getmany(*unread_tps, timeout_ms=200)).items():
                records[tp] += cast("list[Record]", batch)
    return [record for tp in tps for record in records[tp]]


async def count_duplicates(bootstrap: str) -> int:
    """Return how many events of the public topics came more than once, by source and id."""
    records = await read_topics(bootstrap, [topic.name for topic in read_topic_files().values() if topic.public])
    counts: Counter[tuple[str, bytes | None, bytes | None]] = Counter()
    for record in records:
        headers = dict(record.headers)
        counts[record.topic, headers.get("ce_source"), headers.get("ce_id")] += 1
    return sum(count - 1 for count in counts.values())
