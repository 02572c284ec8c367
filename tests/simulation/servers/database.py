"""The simulated Postgres: offsets with epochs, counters and an outbox, behind connections that may be cut."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

from roadloop_runtime.broker import Aborted, Fenced
from roadloop_runtime.outbox.publisher import LockLost, Row
from roadloop_runtime.records import Event, Partition
from roadloop_runtime.settlement.protocols import Batch, Owned
from tests.simulation.servers.clock import OUTSIDE
from tests.simulation.servers.network import Lost, Network

POSTGRES = "postgres"
WAKE_S = 0.2
FROZEN_S = 1.5
LIMIT_S = 2.0

Key = tuple[str, Partition]
BeforeCommit = Callable[[Batch], None]


class Refusal(Exception):
    """Another epoch or another offset is in the row."""


class Cut(Exception):
    """The server has closed this connection."""


@dataclass
class StoredRow:
    """A committed outbox row; numbered when its publisher first looks at it."""

    event: Event
    number: int | None = None


@dataclass
class SimulatedDatabase:
    """All state of the server. Ids of rows are given out before commit, as a sequence does."""

    offsets: dict[Key, tuple[int, int | None]] = field(default_factory=dict)
    topic_ids: dict[Key, str] = field(default_factory=dict)
    counters: dict[int, dict[bytes, int]] = field(default_factory=dict)
    rows: dict[int, StoredRow] = field(default_factory=dict)
    holder: int | None = None
    seen_at: float = 0.0
    cut: set[int] = field(default_factory=set)
    woken: list[asyncio.Event] = field(default_factory=list)
    before_commit: BeforeCommit = lambda _: None
    ids: "count[int]" = field(default_factory=lambda: count(1))

    # --- offsets -----------------------------------------------------------------------------------------------

    def take_over(self, group: str, partition: Partition) -> Owned:
        epoch, next_offset = self.offsets.get((group, partition), (0, None))
        self.offsets[group, partition] = (epoch + 1, next_offset)
        return Owned(epoch + 1, next_offset, self.topic_ids.get((group, partition), ""))

    def begin(self, events: int) -> list[int]:
        """Give out row ids; what is rolled back leaves holes."""
        return [next(self.ids) for _ in range(events)]

    def settle(self, group: str, epoch: int, batch: Batch, ids: Sequence[int]) -> None:
        """Commit offset, counters and rows at once; raises Refusal."""
        key = (group, batch.partition)
        if self.offsets.get(key) != (epoch, batch.old_offset):
            raise Refusal(f"{batch.partition}: {self.offsets.get(key)} is not {(epoch, batch.old_offset)}")
        self.before_commit(batch)
        self.offsets[key] = (epoch, batch.next_offset)
        self.topic_ids[key] = batch.topic_id
        for partition, name, number in cast("Sequence[tuple[int, bytes, int]]", batch.changes):
            self.counters.setdefault(partition, {})[name] = number
        self.rows.update({id: StoredRow(item) for id, item in zip(ids, batch.events, strict=True)})
        for event in self.woken:
            event.set()

    def counted(self, partition: int) -> dict[bytes, int]:
        return dict(self.counters.get(partition, {}))

    # --- the outbox --------------------------------------------------------------------------------------------

    def try_lock(self, connection: int, now: float) -> bool:
        """Take the advisory lock, also from a holder that has said nothing for too long: its session is ended."""
        self._refuse_cut(connection)
        if self.holder is not None and now - self.seen_at > FROZEN_S:
            self.hang_up(self.holder)
        if self.holder is None:
            self.holder = connection
        self._note(connection, now)
        return self.holder == connection

    def number(self, connection: int, now: float, position: int, limit: int) -> list[Row]:
        self._refuse_cut(connection)
        self._note(connection, now)
        last = max([position, *(row.number for row in self.rows.values() if row.number is not None)])
        fresh = [id for id in sorted(self.rows) if self.rows[id].number is None][:limit]
        for nth, id in enumerate(fresh, 1):
            self.rows[id].number = last + nth
        numbered = sorted((row.number, row.event) for row in self.rows.values() if row.number is not None)
        return [Row(number, event) for number, event in numbered if number > position][:limit]

    def forget(self, connection: int, now: float, position: int) -> None:
        self._refuse_cut(connection)
        self._note(connection, now)
        self.rows = {id: row for id, row in self.rows.items() if row.number is None or row.number > position}

    def hang_up(self, connection: int) -> None:
        """End a session: its lock is free, and its next statement fails."""
        self.cut.add(connection)
        if self.holder == connection:
            self.holder = None

    def _note(self, connection: int, now: float) -> None:
        if self.holder == connection:
            self.seen_at = now

    def _refuse_cut(self, connection: int) -> None:
        if connection in self.cut:
            raise Cut(f"connection {connection}")


class SimulatedOffsets:
    """The offsets table as one process sees it."""

    def __init__(self, database: SimulatedDatabase, network: Network) -> None:
        self._database = database
        self._network = network

    async def take_over(self, group: str, partition: Partition) -> Owned:
        owned: Owned = await self._network.call(POSTGRES, self._database.take_over, group, partition)
        return owned

    async def settle(self, group: str, epoch: int, batch: Batch) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                ids = await self._network.call(POSTGRES, self._database.begin, len(batch.events))
                await self._network.call(POSTGRES, self._database.settle, group, epoch, batch, ids)
        except Refusal as error:
            raise Fenced(str(error)) from error
        except asyncio.CancelledError as error:
            if batch.next_offset % 2:  # as a rollback does where the connection is closed just then
                raise Aborted("rolled back on a closed connection") from error
            raise
        except (Lost, TimeoutError) as error:
            raise Aborted(f"{type(error).__name__}: {error}") from error


class SimulatedRows:
    """The outbox as its publisher sees it, on a connection of its own."""

    connections = count(1)

    def __init__(self, database: SimulatedDatabase, network: Network) -> None:
        self._database = database
        self._network = network
        self.connection = next(self.connections)
        self._woken = asyncio.Event()

    async def lock(self) -> None:
        while not await self._ask(self._database.try_lock):
            await asyncio.sleep(WAKE_S)
        self._database.woken.append(self._woken)

    async def number(self, position: int, limit: int) -> Sequence[Row]:
        self._woken.clear()
        found: Sequence[Row] = await self._ask(self._database.number, position, limit)
        return found

    async def forget(self, position: int) -> None:
        await self._ask(self._database.forget, position)

    async def wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAKE_S):
                await self._woken.wait()

    async def _ask(self, request: Callable[..., Any], *args: Any) -> Any:
        now = asyncio.get_running_loop().time()
        try:
            return await self._network.call(POSTGRES, request, self.connection, now, *args)
        except (Cut, Lost) as error:
            raise LockLost(str(error)) from error


def hang_up_soon(database: SimulatedDatabase, connections: Sequence[int], after_s: float) -> None:
    """End the sessions of a process that died, once the server has noticed."""
    loop = asyncio.get_running_loop()
    for connection in connections:
        loop.call_later(after_s, database.hang_up, connection, context=OUTSIDE)
