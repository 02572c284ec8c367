"""Watch verdicts come, as a read_committed subscriber sees them, and check that each frame has exactly one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition

from roadloop_local.addresses import Stack
from roadloop_runtime.kafka.reader import open_reader
from roadloop_schemas.topics import read_topic_files

TOPIC = "frames.screened.v1"
STALLED_S = 60.0
QUARANTINED = b'"verdict":"quarantined"'


@dataclass
class CollectedVerdicts:
    """What came: when how many had come, which frames, and what was wrong."""

    arrivals: list[tuple[float, int]] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    quarantined: int = 0

    def check(self, frame_ids: set[str]) -> None:
        """Raise ValueError unless every frame has exactly one verdict that a model led to."""
        seen_ids = set(self.frames)
        if len(seen_ids) != len(self.frames):
            raise ValueError(f"{len(self.frames) - len(seen_ids)} frames have more than one verdict")
        if seen_ids != frame_ids:
            raise ValueError(
                f"{len(frame_ids - seen_ids)} frames have no verdict, {len(seen_ids - frame_ids)} are not ours"
            )
        if self.quarantined:
            raise ValueError(f"{self.quarantined} frames are quarantined")

    def seconds(self, share_from: float, share_to: float) -> tuple[float, int]:
        """Return how long the verdicts between two shares of all took, and how many they are."""
        total = self.arrivals[-1][1]
        began = next(arrival for arrival in self.arrivals if arrival[1] >= share_from * total)
        ended = next(arrival for arrival in self.arrivals if arrival[1] >= share_to * total)
        return ended[0] - began[0], ended[1] - began[1]


@asynccontextmanager
async def watch(stack: Stack) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a reader that stands at the end as of now."""
    tps = [TopicPartition(TOPIC, number) for number in range(read_topic_files()[TOPIC].partitions)]
    async with open_reader(stack.kafka_bootstrap) as reader:
        reader.assign(tps)
        for tp, end in (await reader.end_offsets(tps)).items():
            reader.seek(tp, end)
        yield reader


async def collect(
    reader: AIOKafkaConsumer, count: int, each: Callable[[int], None] = lambda _: None
) -> CollectedVerdicts:
    """Take so many verdicts; `each` is told how many have come whenever some came.

    Raises TimeoutError where none comes for a minute.
    """
    collected = CollectedVerdicts()
    while len(collected.frames) < count:
        async with asyncio.timeout(STALLED_S):
            while not (records_by_partition := await reader.getmany(timeout_ms=500)):
                pass
        at = time.monotonic()
        for record in (record for records in records_by_partition.values() for record in records):
            collected.frames.append(dict(record.headers)["ce_subject"].decode())
            collected.quarantined += QUARANTINED in record.value
        collected.arrivals.append((at, len(collected.frames)))
        each(len(collected.frames))
    return collected
