"""Snapshots of memory in S3: the sink takes them, and who takes a partition over begins with one.

Nothing depends on them: where there is none, or S3 does not answer, all of the topic is read.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from prometheus_client import Gauge

from roadloop_runtime.kafka.admin import read_cluster_id
from roadloop_runtime.kafka.reader import LogTooShort, read_end_offsets, read_partition
from roadloop_runtime.outcome import Transient
from roadloop_runtime.records import Partition, Record
from roadloop_runtime.storage.objects import ObjectMissing, ObjectRefused, ObjectStore
from screen.memory import entries
from screen.memory.entries import NOTHING, TOPIC
from screen.memory.snapshot_file import BadSnapshot, Head, Snapshot, as_file, extend_snapshot, of_file
from screen.memory.state import Memory

log = structlog.get_logger()
BUCKET = "memory"
PATIENCE_S = 3.0  # a take-over does not wait longer for S3: the topic has it all
TAKEN_AT = Gauge("roadloop_memory_snapshot_taken_seconds", "When a snapshot was taken, Unix time.", ["partition"])


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class MemoryTopic:
    """Memory's topic, and where its snapshots are."""

    bootstrap: str
    store: ObjectStore
    topic: str = TOPIC
    clock: Callable[[], datetime] = utc_now

    async def rebuild(self, partition: int) -> Memory:
        """Return what is remembered of a partition."""
        snapshot, records = await self.read(partition)
        since = snapshot.head.offset if snapshot else None
        log.info("memory_rebuilt", partition=partition, snapshot_up_to=since, entries_read=len(records))
        return entries.rebuild(records, snapshot.entries if snapshot else NOTHING)

    async def read(self, partition: int) -> tuple[Snapshot | None, Sequence[Record]]:
        """Return a partition's snapshot with the entries after it; without one, all entries."""
        snapshot = await self.newest(partition)
        topic_partition = Partition(self.topic, partition)
        if snapshot is None:
            return None, await read_partition(self.bootstrap, topic_partition)
        try:
            return snapshot, await read_partition(self.bootstrap, topic_partition, snapshot.head.offset)
        except LogTooShort as error:  # somebody has made the topic anew
            log.warning("snapshot_of_another_log", partition=partition, error=str(error))
            return None, await read_partition(self.bootstrap, topic_partition)

    async def newest(self, partition: int) -> Snapshot | None:
        """Return a partition's snapshot; None where there is none that can be used."""
        key = await self.key_of(partition)
        try:
            async with asyncio.timeout(PATIENCE_S):
                snapshot = await asyncio.to_thread(of_file, await self.store.read(BUCKET, key))
        except ObjectMissing:
            return None
        except (Transient, TimeoutError, ObjectRefused, BadSnapshot) as error:
            log.warning("snapshot_not_read", key=key, error=f"{type(error).__name__}: {error}")
            return None
        return snapshot if snapshot.head.partition == partition and snapshot.head.is_usable(self.clock()) else None

    async def key_of(self, partition: int) -> str:
        """Return where a partition's snapshot is; another cluster's offsets are others."""
        return f"{self.topic}/{await read_cluster_id(self.bootstrap)}/{partition}.jsonl.gz"


@dataclass
class Snapshots:
    """Takes a partition's snapshot once its topic has `after` more entries, and before the one there is grows old."""

    memory_topic: MemoryTopic
    after: int
    heads: dict[int, Head] = field(default_factory=dict)

    async def keep(self, partitions: int, every_s: float) -> None:
        """Look after the snapshots until cancelled. While S3 is away the old ones stay."""
        while True:
            ends = await read_end_offsets(self.memory_topic.bootstrap, self.memory_topic.topic, partitions)
            for partition, end in ends.items():
                try:
                    await self.renew(partition, end)
                except (Transient, ObjectRefused, ObjectMissing) as error:
                    log.warning("snapshot_not_taken", partition=partition, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(every_s)

    async def renew(self, partition: int, end: int) -> None:
        """Take a snapshot where one is due; `end` is the topic's. Raises Transient, ObjectRefused or ObjectMissing."""
        now = self.memory_topic.clock()
        if not self._is_due(partition, end, now):
            return
        snapshot, records = await self.memory_topic.read(partition)
        if snapshot is not None:
            self._note(snapshot.head)
            if not self._is_due(partition, end, now):  # it was taken by another sink, or in this one's life before
                return
        await self._write(extend_snapshot(snapshot, records, partition=partition, now=now))

    def _is_due(self, partition: int, end: int, now: datetime) -> bool:
        head = self.heads.get(partition)
        if head is None:
            return end >= self.after
        return not (0 <= end - head.offset < self.after and head.is_young(now))

    async def _write(self, snapshot: Snapshot) -> None:
        content = await asyncio.to_thread(as_file, snapshot)
        key = await self.memory_topic.key_of(snapshot.head.partition)
        await self.memory_topic.store.put(BUCKET, key, content, "application/gzip")
        self._note(snapshot.head)
        log.info(
            "snapshot_taken", key=key, up_to=snapshot.head.offset, entries=snapshot.head.entries, size=len(content)
        )

    def _note(self, head: Head) -> None:
        self.heads[head.partition] = head
        TAKEN_AT.labels(head.partition).set(head.taken_at.timestamp())
