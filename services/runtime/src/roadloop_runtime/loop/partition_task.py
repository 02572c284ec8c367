"""One owned partition: a FIFO of observations; the head decides, the rest waits; decided records settle together."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from roadloop_runtime.broker import Aborted, Fenced, Log, Member
from roadloop_runtime.dead_letter import to_dead_letter
from roadloop_runtime.handler import Handler
from roadloop_runtime.loop import metrics
from roadloop_runtime.loop.bad_records import blame_handler, refuse_too_large
from roadloop_runtime.loop.cancellation import go_if_cancelled
from roadloop_runtime.loop.dead_letter_limit import DeadLetterLimit
from roadloop_runtime.loop.limits import Kept, Limits
from roadloop_runtime.loop.observation_queue import ObservationQueue
from roadloop_runtime.loop.retry import PAUSE_S, retry_after_abort
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome
from roadloop_runtime.records import Event, Partition, Record
from roadloop_runtime.settlement.check_offset import check_memory, check_offset
from roadloop_runtime.settlement.protocols import Batch, Settled, Settlement

log = structlog.get_logger()


class PartitionTask:
    """The consume loop of one partition, from its take-over to its end."""

    def __init__(
        self,
        partition: Partition,
        handler: Handler[Any, Any, Any, Any],
        *,
        kafka: Member,
        settlement: Settlement,
        limits: Limits,
        semaphore: asyncio.Semaphore,
        dead_letter_limit: DeadLetterLimit,
        group: asyncio.TaskGroup,
        kept: Kept | None,
    ) -> None:
        self.partition = partition
        self.open = False
        self._handler = handler
        self._kafka = kafka
        self._settlement = settlement
        self._limits = limits
        self._dead_letter_limit = dead_letter_limit
        self._kept = kept
        self._log = Log("", 0, 0)
        self._changed = asyncio.Event()
        self._waiting = ObservationQueue(handler, semaphore=semaphore, group=group, changed=self._changed)
        self._clock = asyncio.get_running_loop().time
        self._draining = False
        self._remembers = False
        self._reset(None, None)

    def _reset(self, settled: int | None, memory: Any) -> None:
        self._events: list[Event] = []
        self._changes: list[object] = []
        self._kinds: list[type[Outcome]] = []
        self._settling = 0
        self._given_up: list[DeadLetter] = []
        self._decided_since = 0.0
        self._settled = settled
        self._next = settled
        self._memory = self._settled_memory = memory
        self._quiet_since = self._clock()

    # --- what the loop calls -----------------------------------------------------------------------------------

    def feed(self, records: Sequence[Record]) -> None:
        """Start the observations of freshly polled records. While a take-over runs they are ignored: it seeks."""
        if not self.open:
            return
        self._waiting.add(records, self._clock())
        self._changed.set()

    def see_position(self, position: int) -> None:
        """Take note of the offset behind transaction markers, where nothing is in flight."""
        if self.open and not self._waiting and not self._kinds and position > (self._next or 0):
            self._next = position
            self._changed.set()

    def drain(self) -> None:
        """Finish what is in flight, settle it, and end."""
        self._draining = True
        self._changed.set()

    def keep(self) -> Kept | None:
        """Return the memory as it was settled, for the case that this partition comes back.

        None where no take-over has ended: no memory is not an empty one.
        """
        return Kept(self._settled, self._settled_memory) if self._remembers else None

    @property
    def room(self) -> int:
        """Return how many more records are wanted now, so that no more than the limit are ever in flight.

        Without observations one batch at a time is: it is decided at once, while the processor's cache still holds it.
        With them, polling waits until half of the room is free: many small polls would cost more.
        """
        limits, in_flight = self._limits, self.in_flight
        if not self.open:
            return 0
        if self._handler.observe is None:
            return limits.batch if in_flight < limits.batch else 0
        return limits.in_flight - in_flight if in_flight <= limits.in_flight // 2 else 0

    @property
    def in_flight(self) -> int:
        return len(self._waiting) + len(self._kinds) + self._settling

    @property
    def settled(self) -> int | None:
        return self._settled

    @property
    def oldest_s(self) -> float:
        """Return the age of the oldest unfinished record in seconds; 0 where there is none."""
        since = self._decided_since if self._kinds else self._waiting.since
        return 0.0 if since is None else self._clock() - since

    # --- the way of a record -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take the partition over and work on it; after an aborted batch and a pause, take it over again.

        The pauses grow while nothing is settled: an output that refuses for minutes must not be asked, and the input
        not be fetched, again and again.
        """
        try:
            ended = False
            while not ended:
                async for attempt in retry_after_abort(Aborted):
                    with attempt:
                        ended = await self._live()
        finally:
            self._shut()
            await self._settlement.abandon(self.partition)

    async def _live(self) -> bool:
        """Take over and work until the partition task is drained, or a batch is aborted. Say whether this was the end.

        Raises Aborted where nothing was settled since the take-over.
        """
        await self._take_over()
        taken_over_at = self._settled
        try:
            await self._work()
        except Aborted as error:
            go_if_cancelled()
            log.warning("settle_aborted", partition=self.partition, error=str(error))
            metrics.ABORTED.labels(self._kafka.group, self.partition.topic).inc()
            self._shut()
            if self._draining:
                return True
            if self._settled == taken_over_at:
                raise
            await asyncio.sleep(PAUSE_S)
            return False
        return True

    def _shut(self) -> None:
        """Take no records, and give up what is observed."""
        self.open = False
        self._kafka.pause((self.partition,))
        self._waiting.give_up()

    async def _take_over(self) -> None:
        """Fence, read the committed offset, seek there, rebuild the memory, only then take records."""
        self._shut()
        settled = await self._settlement.take_over(self.partition)
        self._log = await self._kafka.log_of(self.partition)
        check_offset(self._kafka.group, self.partition, settled, self._log)
        offset = settled.next_offset
        if self._kept is not None and self._kept.offset == offset:
            memory = self._kept.memory
        else:
            memory = await self._handler.rebuild(self.partition.partition)
            await self._check_memory(settled, memory)
        self._kept = None
        self._reset(offset, memory)
        self._remembers = True
        self._kafka.seek(self.partition, self._log.start if offset is None else offset)
        self.open = True
        self._kafka.resume((self.partition,))
        log.info("taken_over", topic=self.partition.topic, partition=self.partition.partition, offset=offset)

    async def _check_memory(self, settled: Settled, memory: Any) -> None:
        """Refuse a memory without an offset. Who was frozen since the offset was read sees another owner's memory."""
        is_new = self._handler.is_new(memory)
        if settled.next_offset is None and not is_new and await self._kafka.committed(self.partition) is not None:
            raise Fenced(f"{self.partition}: another owner has settled since it was taken over")
        check_memory(self._kafka.group, self.partition, settled, is_new=is_new)

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            self._decide_ready()
            if self._is_due():
                await self._settle()
            elif self._draining and not self._waiting:
                return
            else:
                await self._wait()

    async def _wait(self) -> None:
        limit = self._limits.settle_interval_s if self._kinds else self._limits.idle_s
        try:
            async with asyncio.timeout(limit):
                await self._changed.wait()
        except TimeoutError:
            if not self._waiting and not self._kinds:
                await self._settlement.look_after(self.partition)

    def _decide_ready(self) -> None:
        """Decide from the head on, until a record that is still being observed or a full batch."""
        for record, observation in self._waiting.pop_ready(self._limits.batch - len(self._kinds)):
            self._decide(record, observation)

    def _decide(self, record: Record, observation: Any) -> None:
        if isinstance(observation, DeadLetter):
            self._give_up(record, observation)
            return
        try:
            memory, outcome = self._handler.decide(self._memory, observation, self._handler.policy())
        except Exception as error:
            log.exception("decide_failed", partition=self.partition, offset=record.offset)
            self._give_up(record, blame_handler(error))
            return
        if isinstance(outcome, DeadLetter):
            self._give_up(record, outcome)
            return
        events, changes = (outcome.events, outcome.changes) if isinstance(outcome, Emit) else ((), ())
        if dead_letter := refuse_too_large(events):
            self._give_up(record, dead_letter)
            return
        self._memory = memory
        self._take(record, type(outcome), events)
        self._changes.extend(changes)
        self._dead_letter_limit.reset()

    def _give_up(self, record: Record, dead_letter: DeadLetter) -> None:
        """Send a record to its dead-letter topic; the memory stays as it was before it."""
        self._take(record, DeadLetter, (to_dead_letter(self._kafka.group, record, dead_letter),))
        self._given_up.append(dead_letter)
        self._dead_letter_limit.add(record.key, dead_letter)

    def _take(self, record: Record, kind: type[Outcome], events: Sequence[Event]) -> None:
        if not self._kinds:
            self._decided_since = self._clock()
        self._kinds.append(kind)
        self._events.extend(events)
        self._next = record.offset + 1

    def _is_due(self) -> bool:
        if self._kinds:
            is_waited = self._clock() - self._decided_since >= self._limits.settle_interval_s
            return is_waited or self._draining or len(self._kinds) >= self._limits.batch
        is_quiet = self._clock() - self._quiet_since >= self._limits.idle_s
        return self._next != self._settled and (is_quiet or self._draining)

    async def _settle(self) -> None:
        kinds, given_up = self._kinds, self._given_up
        memory, offset = self._memory, self._next or 0
        changed = self._handler.remember(self.partition.partition, self._settled_memory, memory)
        events, changes = (*self._events, *changed), tuple(self._changes)
        batch = Batch(self.partition, self._settled, offset, events, changes, self._log.topic_id)
        self._events, self._changes, self._kinds, self._given_up = [], [], [], []
        self._settling = len(kinds)
        await self._settlement.settle(batch)
        self._settling = 0
        self._settled, self._settled_memory = offset, memory
        self._quiet_since = self._clock()
        metrics.count(self._kafka.group, self.partition.topic, kinds, given_up)
