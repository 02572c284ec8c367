"""What the loop and the outbox ask of a database: one suite over Postgres and over the simulated one."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, cast

import asyncpg
import pytest

from roadloop_local.addresses import Stack
from roadloop_runtime.broker import Aborted, Fenced
from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.outbox.publisher import LockLost, Row, Rows
from roadloop_runtime.records import Event, Partition
from roadloop_runtime.settlement.offset_table import OffsetTable
from roadloop_runtime.settlement.protocols import Batch, Offsets, Owned
from roadloop_runtime.storage.postgres import Connection, Pool, open_pool
from tests.integration.loop.conftest import TABLES
from tests.integration.loop.copier import COUNT
from tests.simulation.servers.database import SimulatedDatabase, SimulatedOffsets, SimulatedRows, StoredRow
from tests.simulation.servers.network import Network
from tests.waiting import GUARD_S, eventually

pytestmark = pytest.mark.integration
GROUP, SOURCE = "g", Partition("in.v1", 0)
TOPIC_ID = "4f4e441a-e5f1-416b-83b2-178fa42a1f18"
Commit = Callable[[], Awaitable[None]]


class Database(Protocol):
    """A database under test, and what only tests do with it."""

    def offsets(self) -> Offsets: ...
    async def rows(self) -> Rows: ...
    async def counted(self) -> dict[bytes, int]: ...
    async def begin(self, item: Event) -> Commit: ...
    async def hang_up(self, rows: Rows) -> None: ...


@dataclass
class Real:
    """Postgres, with a schema of this test's own."""

    dsn: str
    pool: Pool
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def offsets(self) -> Offsets:
        async def store(connection: Connection, changes: Sequence[Any]) -> None:
            await connection.executemany(COUNT, changes)

        return OffsetTable(self.pool, store)

    async def rows(self) -> Rows:
        return await self.stack.enter_async_context(outbox_table.open_rows(self.dsn))

    async def counted(self) -> dict[bytes, int]:
        return {row["key"]: row["count"] for row in await self.pool.fetch("select key, count from counters")}

    async def begin(self, item: Event) -> Commit:
        connection = await asyncpg.connect(self.dsn)
        transaction = connection.transaction()
        await transaction.start()
        await outbox_table.append(connection, [item])

        async def commit() -> None:
            await transaction.commit()
            await connection.close()

        return commit

    async def hang_up(self, rows: Rows) -> None:
        assert isinstance(rows, outbox_table.OutboxRows)
        pid = rows._connection.get_server_pid()
        await self.pool.fetchval("select pg_terminate_backend($1)", pid)


@dataclass
class Simulated:
    """The simulated database, here in real time."""

    database: SimulatedDatabase
    network: Network

    def offsets(self) -> Offsets:
        return SimulatedOffsets(self.database, self.network)

    async def rows(self) -> Rows:
        return SimulatedRows(self.database, self.network)

    async def counted(self) -> dict[bytes, int]:
        return self.database.counted(0)

    async def begin(self, item: Event) -> Commit:
        (id,) = self.database.begin(1)

        async def commit() -> None:
            self.database.rows[id] = StoredRow(item)

        return commit

    async def hang_up(self, rows: Rows) -> None:
        assert isinstance(rows, SimulatedRows)
        self.database.hang_up(rows.connection)


@pytest.fixture(params=["simulated", "postgres"])
def servers(request: pytest.FixtureRequest) -> Stack | None:
    """The real servers where they are wanted; started outside of the test's event loop."""
    return cast("Stack", request.getfixturevalue("stack")) if request.param == "postgres" else None


@pytest.fixture
async def database(servers: Stack | None) -> AsyncIterator[Database]:
    if not servers:
        yield Simulated(SimulatedDatabase(), Network(Random(1)))
        return
    schema = f"contract_{uuid.uuid4().hex[:8]}"
    admin = await asyncpg.connect(servers.postgres_dsn("postgres"))
    await admin.execute(TABLES.format(schema=schema))
    dsn = f"{servers.postgres_dsn('postgres')}?options=-csearch_path%3D{schema}"
    async with AsyncExitStack() as opened:
        yield Real(dsn, await opened.enter_async_context(await open_pool(dsn, name=schema)), opened)
    await admin.execute(f"drop schema {schema} cascade")
    await admin.close()


def event(value: str) -> Event:
    return Event("out.v1", b"k", value.encode(), (("h\0", b"1"),), 2)


def batch(old: int | None, new: int, *values: str, counts: tuple[tuple[int, bytes, int], ...] = ()) -> Batch:
    return Batch(SOURCE, old, new, tuple(map(event, values)), counts, TOPIC_ID)


async def fresh(rows: Rows, position: int = 0) -> list[tuple[int, str]]:
    """Number what is there and return what is behind a position."""
    found: Sequence[Row] = await rows.number(position, 100)
    return [(row.number, (row.event.value or b"").decode()) for row in found]


async def test_each_take_over_is_a_new_epoch_and_gives_the_offset_settled_last(database: Database) -> None:
    offsets = database.offsets()
    assert await offsets.take_over(GROUP, SOURCE) == Owned(1, None)
    await offsets.settle(GROUP, 1, batch(None, 7))
    await offsets.settle(GROUP, 1, batch(7, 9))
    assert await offsets.take_over(GROUP, SOURCE) == Owned(2, 9, TOPIC_ID)
    assert await offsets.take_over("another", SOURCE) == Owned(1, None)


@pytest.mark.parametrize(
    ("epoch", "old"),
    [
        pytest.param(1, 5, id="an-older-epoch"),
        pytest.param(2, 4, id="another-offset"),
        pytest.param(2, None, id="no-offset-where-there-is-one"),
        pytest.param(3, 5, id="an-epoch-that-nobody-began"),
    ],
)
async def test_who_is_fenced_leaves_nothing(database: Database, epoch: int, old: int | None) -> None:
    offsets, rows = database.offsets(), await database.rows()
    await offsets.take_over(GROUP, SOURCE)
    await offsets.settle(GROUP, 1, batch(None, 5, "1", counts=((0, b"k", 1),)))
    await offsets.take_over(GROUP, SOURCE)
    with pytest.raises(Fenced):
        await offsets.settle(GROUP, epoch, batch(old, 6, "no", counts=((0, b"k", 2),)))
    assert (await fresh(rows), await database.counted()) == ([(1, "1")], {b"k": 1})
    await offsets.settle(GROUP, 2, batch(5, 6, "2", counts=((0, b"k", 2),)))
    assert (await fresh(rows), await database.counted()) == ([(1, "1"), (2, "2")], {b"k": 2})


async def test_rows_come_back_as_they_were_put_in(database: Database) -> None:
    offsets, rows = database.offsets(), await database.rows()
    await offsets.take_over(GROUP, SOURCE)
    await offsets.settle(GROUP, 1, batch(None, 1, "1"))
    assert await rows.number(0, 10) == [Row(1, event("1"))]


async def test_numbers_are_dense_and_go_on_behind_the_position(database: Database) -> None:
    offsets, rows = database.offsets(), await database.rows()
    await offsets.take_over(GROUP, SOURCE)
    await offsets.settle(GROUP, 1, batch(None, 3, "1", "2", "3"))
    assert [row.number for row in await rows.number(40, 2)] == [41, 42]
    assert await fresh(rows, 42) == [(43, "3")]
    await rows.forget(43)
    assert await fresh(rows, 43) == []
    await offsets.settle(GROUP, 1, batch(3, 4, "4"))
    assert await fresh(rows, 43) == [(44, "4")]


async def test_a_row_that_commits_late_is_published_late_and_not_lost(database: Database) -> None:
    """Its id is lower than that of rows published before: who remembers the highest id would never see it."""
    offsets, rows = database.offsets(), await database.rows()
    commit = await database.begin(event("late"))
    await offsets.take_over(GROUP, SOURCE)
    await offsets.settle(GROUP, 1, batch(None, 1, "early"))
    assert await fresh(rows) == [(1, "early")]
    await commit()
    assert await fresh(rows, 1) == [(2, "late")]


async def test_one_publisher_at_a_time_and_the_next_when_its_connection_ends(database: Database) -> None:
    first, second = await database.rows(), await database.rows()
    await first.lock()
    waiting = asyncio.create_task(second.lock())
    await fresh(first)
    assert not waiting.done()
    await database.hang_up(first)
    async with asyncio.timeout(GUARD_S):
        await waiting
    with pytest.raises(LockLost):
        await first.number(0, 1)


async def test_a_publisher_that_says_nothing_loses_its_lock(database: Database) -> None:
    silent, second = await database.rows(), await database.rows()
    await silent.lock()
    async with asyncio.timeout(GUARD_S):
        await second.lock()
    with pytest.raises(LockLost):
        await silent.forget(0)


async def test_a_committed_row_is_found_after_a_wait(database: Database) -> None:
    offsets, rows = database.offsets(), await database.rows()
    await rows.lock()
    await offsets.take_over(GROUP, SOURCE)
    assert await fresh(rows) == []
    await offsets.settle(GROUP, 1, batch(None, 1, "1"))

    async def there() -> bool:
        await rows.wait()
        return await fresh(rows) == [(1, "1")]

    await eventually("the row", there)


async def test_a_transaction_that_postgres_gives_up_is_aborted_and_ends_no_process(stack: Stack) -> None:
    async def deadlocked(_connection: Connection, _changes: Sequence[Any]) -> None:
        raise asyncpg.DeadlockDetectedError("deadlock detected")

    schema = f"contract_{uuid.uuid4().hex[:8]}"
    dsn = f"{stack.postgres_dsn('postgres')}?options=-csearch_path%3D{schema}"
    async with await open_pool(dsn, name=schema) as pool:
        await pool.execute(TABLES.format(schema=schema))
        offsets = OffsetTable(pool, deadlocked)
        await offsets.take_over(GROUP, SOURCE)
        with pytest.raises(Aborted):
            await offsets.settle(GROUP, 1, batch(None, 1, counts=((0, b"k", 1),)))
        await pool.execute(f"drop schema {schema} cascade")
