"""The outbox: rows committed with what caused them, published later, each once and in order.

One publisher per service gives committed rows a dense number and publishes them with a position record in one
Kafka transaction. The position in Kafka is the truth of what was published: after a crash between the commit in
Kafka and the delete in Postgres, rows at or below it are deleted and not sent again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from roadloop_runtime.kafka import Producer, abandon, fence, transact
from roadloop_runtime.kafka_read import read_partition
from roadloop_runtime.postgres import Connection
from roadloop_runtime.records import Event, Partition

log = structlog.get_logger()
WAKE_S = 1.0
PUBLISH_AT_MOST = 500
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
LOCK = "select pg_try_advisory_lock(hashtext('outbox'), hashtext(current_schema()))"


class LockLost(Exception):
    """The connection that held the publisher's lock is gone: another publisher may be there. End."""


async def append(connection: Connection, events: Sequence[Event]) -> None:
    """Put events into the outbox, in the transaction that caused them."""
    if not events:
        return
    await connection.executemany(APPEND, [_row(item) for item in events])
    await connection.execute(WAKE)


def _row(item: Event) -> tuple[Any, ...]:
    names = [name.encode() for name, _ in item.headers]  # bytes: a sender's header name may hold a NUL
    return (item.topic, item.partition, item.key, item.value, names, [value for _, value in item.headers])


def _event(row: "asyncpg.Record") -> Event:
    names = [name.decode() for name in row["header_names"]]
    headers = tuple(zip(names, row["header_values"], strict=True))
    return Event(row["topic"], row["key"], row["value"], headers, row["partition"])


async def publish_for_ever(dsn: str, bootstrap: str, service: str, client_id: str) -> None:
    """Publish what the outbox holds, until cancelled. Raises LockLost, Fenced or Aborted: the process ends."""
    connection = await asyncpg.connect(
        dsn, timeout=10, command_timeout=30, server_settings={"idle_session_timeout": str(FROZEN_MS)}
    )
    try:
        await _wait_for_lock(connection)
        await _publish_as_owner(connection, bootstrap, service, client_id)
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
        raise LockLost(f"{service}: {error}") from error
    finally:
        with suppress(Exception):
            await connection.close(timeout=2)


async def _wait_for_lock(connection: Connection) -> None:
    """Stand by: the lock is free when its owner's connection ends."""
    while not await connection.fetchval(LOCK):  # noqa: ASYNC110
        await asyncio.sleep(WAKE_S)


async def _publish_as_owner(connection: Connection, bootstrap: str, service: str, client_id: str) -> None:
    """Lock held: fence, read the position, then publish on every wake."""
    producer = await fence(bootstrap, client_id, f"{service}.outbox")
    woken = asyncio.Event()
    schema = await connection.fetchval("select current_schema()")
    await connection.add_listener(f"outbox_{schema}", lambda *_: woken.set())
    try:
        position = await read_position(bootstrap, service)
        await connection.execute(FORGET, position)
        while True:
            woken.clear()
            position = await _publish_all(connection, producer, service, position)
            with suppress(TimeoutError):
                async with asyncio.timeout(WAKE_S):
                    await woken.wait()
    finally:
        await abandon(producer)


async def _publish_all(connection: Connection, producer: Producer, service: str, position: int) -> int:
    """Publish until nothing is left; return the new position."""
    while True:
        await connection.execute(NUMBER, position, PUBLISH_AT_MOST)
        rows = await connection.fetch(PENDING, position, PUBLISH_AT_MOST)
        if not rows:
            return position
        position = rows[-1]["number"]
        mark = Event(position_topic(service), service.encode(), str(position).encode(), (), 0)
        await transact(producer, [*map(_event, rows), mark], {}, "")
        await connection.execute(FORGET, position)


def position_topic(service: str) -> str:
    return f"{service}.outbox.v1"


async def read_position(bootstrap: str, service: str) -> int:
    """Return the number of the row published last; 0 where none was."""
    records = await read_partition(bootstrap, Partition(position_topic(service), 0))
    return int(records[-1].value or 0) if records else 0
