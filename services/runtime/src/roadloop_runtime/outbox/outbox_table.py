"""The outbox in Postgres: rows go in with what caused them; its one publisher numbers, reads and deletes them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncpg

from roadloop_runtime.broker import Broker
from roadloop_runtime.outbox.publisher import LockLost, Row, publish_for_ever
from roadloop_runtime.records import Event
from roadloop_runtime.storage.advisory_lock import acquire
from roadloop_runtime.storage.postgres import CONNECTION_FAILED, Connection

WAKE_S = 1.0
# The lock's connection speaks at least every WAKE_S. Postgres ends it when its process is frozen, and the lock with it.
FROZEN_MS = 10_000

APPEND = """
insert into outbox (topic, partition, key, value, header_names, header_values) values ($1, $2, $3, $4, $5, $6)
"""
WAKE = "select pg_notify('outbox_' || current_schema(), '')"
# The advisory lock makes one publisher; rows of one input partition commit in the order of their ids.
NUMBER = """
with last as (select coalesce(max(number), $1) as number from outbox),
     fresh as (select id, row_number() over (order by id) as nth from outbox where number is null order by id limit $2)
update outbox set number = greatest(last.number, $1) + fresh.nth from fresh, last where outbox.id = fresh.id
"""
PENDING = """
select number, topic, partition, key, value, header_names, header_values from outbox
where number > $1 order by number limit $2
"""
FORGET = "delete from outbox where number <= $1"


async def append(connection: Connection, events: Sequence[Event]) -> None:
    """Put events into the outbox, in the transaction that caused them."""
    if not events:
        return
    await connection.executemany(APPEND, [_to_row(event) for event in events])
    await connection.execute(WAKE)


def _to_row(event: Event) -> tuple[Any, ...]:
    names = [name.encode() for name, _ in event.headers]  # bytes: a sender's header name may hold a NUL
    return (event.topic, event.partition, event.key, event.value, names, [value for _, value in event.headers])


def _to_event(row: "asyncpg.Record") -> Event:
    names = [name.decode() for name in row["header_names"]]
    headers = tuple(zip(names, row["header_values"], strict=True))
    return Event(row["topic"], row["key"], row["value"], headers, row["partition"])


@asynccontextmanager
async def open_rows(dsn: str) -> AsyncIterator["OutboxRows"]:
    """Open the publisher's own connection: the lock lives and dies with it."""
    with _raise_lock_lost():
        connection = await asyncpg.connect(
            dsn, timeout=10, command_timeout=30, server_settings={"idle_session_timeout": str(FROZEN_MS)}
        )
    try:
        yield OutboxRows(connection)
    finally:
        with suppress(Exception):
            await connection.close(timeout=2)


async def publish_outbox(dsn: str, broker: Broker, service: str) -> None:
    """Publish what the outbox of a service holds, until cancelled; see `outbox.publish_for_ever`."""
    async with open_rows(dsn) as rows:
        await publish_for_ever(rows, broker, service)


class OutboxRows:
    """The table as its publisher uses it, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._woken = asyncio.Event()

    async def lock(self) -> None:
        with _raise_lock_lost():
            schema = await self._connection.fetchval("select current_schema()")
            await acquire(self._connection, "outbox")
            await self._connection.add_listener(f"outbox_{schema}", lambda *_: self._woken.set())

    async def number(self, position: int, limit: int) -> Sequence[Row]:
        self._woken.clear()
        with _raise_lock_lost():
            await self._connection.execute(NUMBER, position, limit)
            rows = await self._connection.fetch(PENDING, position, limit)
        return [Row(row["number"], _to_event(row)) for row in rows]

    async def forget(self, position: int) -> None:
        with _raise_lock_lost():
            await self._connection.execute(FORGET, position)

    async def wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAKE_S):
                await self._woken.wait()


@contextmanager
def _raise_lock_lost() -> Iterator[None]:
    """Tell of every failure as the loss of the lock, for that is what it may be."""
    try:
        yield
    except CONNECTION_FAILED as error:
        raise LockLost(f"outbox: {type(error).__name__}: {error}") from error
