"""A downstream team: reads every public topic as a read_committed subscriber."""

from collections import Counter
from collections.abc import Sequence

from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition, Record
from roadloop_schemas.topics import topics


async def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """Return every committed record of a topic."""
    partitions = range(topics()[topic].partitions)
    read: Sequence[Sequence[Record]] = [await read_partition(bootstrap, Partition(topic, p)) for p in partitions]
    return [record for records in read for record in records]


async def duplicates_seen(bootstrap: str) -> int:
    """Return how many events of the public topics came more than once, by source and id."""
    seen: Counter[tuple[bytes | None, bytes | None, str]] = Counter()
    for topic in topics().values():
        if topic.public:
            for record in await read_topic(bootstrap, topic.name):
                headers = dict(record.headers)
                seen[headers.get("ce_source"), headers.get("ce_id"), topic.name] += 1
    return sum(count - 1 for count in seen.values())
