"""The consume loop of one consumer group: observe, decide, settle.

Read `partition_task.py` for the way of a record. Here: joining the group, handing partitions out and taking them back.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from roadloop_runtime.broker import Member
from roadloop_runtime.handler import Handler
from roadloop_runtime.loop import metrics
from roadloop_runtime.loop.dead_letter_limit import DeadLetterLimit
from roadloop_runtime.loop.limits import Kept, Limits
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.loop.partition_task import PartitionTask
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Settlement

log = structlog.get_logger()
POLL_RECORDS = 1_000
POLL_S = 0.1
FULL_POLL_S = 0.005  # while a partition task is full: how soon its room is seen
FULL_POLL_OBSERVING_S = 0.025  # one that observes has half of what it holds left by then (`PartitionTask.room`)


class Loop:
    """One member of one consumer group. `run` returns when `stopping` is set and all decided records are settled.

    Raises what ends a process: Fenced, Superseded, OffsetsExpired, TooManyDeadLetters, a failed take-over, and
    every fatal error of the client (in an ExceptionGroup).
    """

    def __init__(
        self,
        claim: Claim,
        handlers: Mapping[str, Handler[Any, Any, Any, Any]],
        *,
        kafka: Member,
        settlement: Settlement,
        limits: Limits | None = None,
    ) -> None:
        self._claim = claim
        self._handlers = handlers
        self._kafka = kafka
        self._settlement = settlement
        self._limits = limits or Limits()
        self._semaphore = asyncio.Semaphore(self._limits.observing)
        self._dead_letter_limit = DeadLetterLimit()
        self._partition_tasks: dict[Partition, tuple[PartitionTask, asyncio.Task[None]]] = {}
        self._kept: dict[Partition, Kept] = {}
        self._clock = asyncio.get_running_loop().time
        self.turned_at = self._clock()
        self._looked_at = self.turned_at
        self.joined = False
        self._leaving = False
        observing = all(handler.observe for handler in handlers.values())
        self._full_poll_s = FULL_POLL_OBSERVING_S if observing else FULL_POLL_S
        metrics.PARTITION_TASKS.watch(self)

    @property
    def group(self) -> str:
        return self._kafka.group

    @property
    def partition_tasks(self) -> list[PartitionTask]:
        """Return the partitions this worker owns now."""
        return [partition_task for partition_task, _ in self._partition_tasks.values()]

    async def run(self, stopping: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._claim.make()
                watch = group.create_task(self._claim.watch())
                await self._kafka.join(self._handlers, self._end_revoked, self._take_assigned)
                self.joined = True
                try:
                    while not stopping.is_set():
                        await self._turn()
                finally:
                    self._leaving = True
                self._kafka.pause(self._partition_tasks)
                await self._end_partition_tasks(frozenset(self._partition_tasks))
                watch.cancel()
        finally:
            await self._kafka.leave()

    async def _turn(self) -> None:
        """Poll once and hand out what came. A partition task that is full is not polled for: no buffer grows."""
        hungry = {
            partition: partition_task
            for partition, (partition_task, _) in self._partition_tasks.items()
            if partition_task.room
        }
        wait_s = POLL_S if len(hungry) == len(self._partition_tasks) else self._full_poll_s
        polled = await self._kafka.poll(hungry, limit_poll(hungry.values()), wait_s)
        for partition, records in polled.items():
            if entry := self._partition_tasks.get(Partition(*partition)):
                entry[0].feed(records)
        self.turned_at = self._clock()
        if not polled and self.turned_at - self._looked_at >= POLL_S:
            await self._look_behind_markers()

    async def _look_behind_markers(self) -> None:
        self._looked_at = self._clock()
        for partition, (partition_task, _) in list(self._partition_tasks.items()):
            if partition_task.open and partition_task.in_flight == 0:
                partition_task.see_position(await self._kafka.position(partition))

    async def _take_assigned(self, partitions: frozenset[Partition]) -> None:
        """Pause and hand over, nothing else: the client would only log what is raised here."""
        self._kafka.pause(partitions)
        if self._leaving:  # a partition task begun now would never end
            return
        for partition in partitions - self._partition_tasks.keys():
            partition_task = PartitionTask(
                partition,
                self._handlers[partition.topic],
                kafka=self._kafka,
                settlement=self._settlement,
                limits=self._limits,
                semaphore=self._semaphore,
                dead_letter_limit=self._dead_letter_limit,
                group=self._group,
                kept=self._kept.pop(partition, None),
            )
            self._partition_tasks[partition] = (partition_task, self._group.create_task(partition_task.run()))
        metrics.REBALANCES.labels(self._kafka.group).inc()

    async def _end_revoked(self, partitions: frozenset[Partition]) -> None:
        """Pause, and wait a little for what is decided to settle."""
        self._kafka.pause(partitions)
        await self._end_partition_tasks(partitions)

    async def _end_partition_tasks(self, partitions: frozenset[Partition]) -> None:
        """Drain partition tasks and end them. A revoke and a stop may end the same one: both wait for it."""
        ending = {
            partition: self._partition_tasks[partition]
            for partition in partitions
            if partition in self._partition_tasks
        }
        for partition_task, _ in ending.values():
            partition_task.drain()
        tasks = [task for _, task in ending.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=self._limits.drain_s)
        for partition, (partition_task, task) in ending.items():
            task.cancel()  # where it failed it ends the process through its group
            await asyncio.wait([task], timeout=self._limits.drain_s)
            if self._partition_tasks.get(partition) == (partition_task, task):
                del self._partition_tasks[partition]
                if kept := partition_task.keep():
                    self._kept[partition] = kept


def limit_poll(hungry: Iterable[PartitionTask]) -> int:
    """Return how many records one poll may bring: all of them could be of the partition task with the least room."""
    return min((partition_task.room for partition_task in hungry), default=POLL_RECORDS)
