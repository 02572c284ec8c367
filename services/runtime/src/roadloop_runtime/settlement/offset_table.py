"""Consumer offsets in Postgres, with an epoch per owner: who takes a partition over fences the owner before."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from roadloop_runtime.broker import Aborted, Fenced
from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Batch, Owned
from roadloop_runtime.storage.postgres import Connection, Pool

Store = Callable[[Connection, Sequence[Any]], Awaitable[None]]

TAKE_OVER = """
insert into consumer_offsets as mine (consumer_group, topic, partition, epoch, next_offset)
values ($1, $2, $3, 1, null)
on conflict (consumer_group, topic, partition) do update set epoch = mine.epoch + 1
returning epoch, next_offset, topic_id
"""

ADVANCE = """
update consumer_offsets set next_offset = $6, topic_id = nullif($7, ''), settled_at = now()
where consumer_group = $1 and topic = $2 and partition = $3 and epoch = $4 and next_offset is not distinct from $5
"""

# The connection is gone, or Postgres gave this transaction up for another one's sake.
ROLLED_BACK = (
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.TransactionRollbackError,
    OSError,
    TimeoutError,
)


class OffsetTable:
    """The table of one service. `store` writes a batch's changes in the transaction of its offset."""

    def __init__(self, pool: Pool, store: Store) -> None:
        self._pool = pool
        self._store = store

    async def take_over(self, group: str, partition: Partition) -> Owned:
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(TAKE_OVER, group, *partition)
        if row is None:
            raise Fenced(f"{partition}: Postgres gave no epoch")
        return Owned(row["epoch"], row["next_offset"], row["topic_id"] or "")

    async def settle(self, group: str, epoch: int, batch: Batch) -> None:
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await _advance(connection, group, epoch, batch)
                if batch.changes:
                    await self._store(connection, batch.changes)
                await outbox_table.append(connection, batch.events)
        except ROLLED_BACK as error:
            raise Aborted(f"{type(error).__name__}: {error}") from error


async def _advance(connection: Connection, group: str, epoch: int, batch: Batch) -> None:
    """Compare and set, first of all: it locks the row, so a zombie waits here and then finds itself fenced."""
    offsets = (batch.old_offset, batch.next_offset)
    command_tag = await connection.execute(ADVANCE, group, *batch.partition, epoch, *offsets, batch.topic_id)
    if command_tag != "UPDATE 1":
        raise Fenced(f"{batch.partition}: epoch {epoch} at offset {batch.old_offset} is no longer mine")
