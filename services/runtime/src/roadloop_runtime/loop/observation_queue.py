"""What waits for its turn in one partition: records in offset order, and the observations of them under way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from roadloop_runtime.handler import Handler
from roadloop_runtime.loop.bad_records import decode
from roadloop_runtime.loop.limits import Pending
from roadloop_runtime.loop.retry import observe
from roadloop_runtime.outcome import DeadLetter
from roadloop_runtime.records import Record


class ObservationQueue:
    """A FIFO whose head decides, and the rest waits. `changed` is set whenever an observation ends."""

    def __init__(
        self,
        handler: Handler[Any, Any, Any, Any],
        *,
        semaphore: asyncio.Semaphore,
        group: asyncio.TaskGroup,
        changed: asyncio.Event,
    ) -> None:
        self._handler = handler
        self._semaphore = semaphore
        self._group = group
        self._changed = changed
        self._fifo: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._fifo)

    @property
    def since(self) -> float | None:
        """Return when the head was polled; None where nothing waits."""
        return self._fifo[0].since if self._fifo else None

    def add(self, records: Sequence[Record], now: float) -> None:
        """Start the observations of freshly polled records."""
        self._fifo.extend([self._start(record, now) for record in records])

    def pop_ready(self, most: int) -> Iterator[tuple[Record, Any]]:
        """Take records from the head on, each with what was observed of it, up to one that is still being observed.

        Of a record without observation it is the body, or a DeadLetter: decoded no earlier than this, for thousands
        of waiting bodies would cost more in garbage collection than all else.
        """
        fifo = self._fifo
        for _ in range(min(most, len(fifo))):
            head = fifo[0]
            if head.task is None:
                observation = decode(self._handler, head.record) if head.dead_letter is None else head.dead_letter
            elif head.task.done():
                observation = head.task.result()
            else:
                return
            fifo.popleft()
            yield head.record, observation

    def give_up(self) -> None:
        """Cancel what is observed, and forget what waits."""
        for pending in self._fifo:
            if pending.task is not None:
                pending.task.cancel()
        self._fifo.clear()

    def _start(self, record: Record, now: float) -> Pending:
        look = self._handler.observe
        if look is None:
            return Pending(record, now)
        body = decode(self._handler, record)
        if isinstance(body, DeadLetter):
            return Pending(record, now, dead_letter=body)
        task = self._group.create_task(self._observe(look, record, body))
        task.add_done_callback(lambda _: self._changed.set())
        return Pending(record, now, task)

    async def _observe(self, look: Callable[[Any], Awaitable[Any]], record: Record, body: Any) -> Any:
        async with self._semaphore:
            return await observe(self._handler, look, record, body)
