"""Kafka to Postgres: rows, outbox rows and the input offset are one Postgres transaction.

The truth of the offset is the row in consumer_offsets; what is committed to Kafka afterwards is a copy for lag
tools and is never read back.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from roadloop_runtime import outbox
from roadloop_runtime.kafka import Aborted, Fenced, Kafka
from roadloop_runtime.postgres import Connection, Pool
from roadloop_runtime.records import Partition
from roadloop_runtime.settle import Batch

Store = Callable[[Connection, Sequence[Any]], Awaitable[None]]

TAKE_OVER = """
insert into consumer_offsets as mine (consumer_group, topic, partition, epoch, next_offset)
values ($1, $2, $3, 1, null)
on conflict (consumer_group, topic, partition) do update set epoch = mine.epoch + 1
returning epoch, next_offset
"""

ADVANCE = """
update consumer_offsets set next_offset = $6, settled_at = now()
where consumer_group = $1 and topic = $2 and partition = $3 and epoch = $4 and next_offset is not distinct from $5
"""


class PostgresSettlement:
    """Holds the epoch of each partition this worker owns. `store` writes a batch's changes in its transaction."""

    def __init__(self, kafka: Kafka, pool: Pool, store: Store) -> None:
        self._kafka = kafka
        self._pool = pool
        self._store = store
        self._epochs: dict[Partition, int] = {}

    async def take_over(self, partition: Partition) -> int | None:
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(TAKE_OVER, self._kafka.group, *partition)
        if row is None:
            raise Fenced(f"{partition}: Postgres gave no epoch")
        self._epochs[partition] = row["epoch"]
        offset: int | None = row["next_offset"]
        if offset is not None:
            await self._copy(partition, offset)
        return offset

    async def settle(self, batch: Batch) -> None:
        if batch.partition not in self._epochs:
            raise Aborted(f"{batch.partition}: not taken over")
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await self._advance(connection, batch)
                if batch.changes:
                    await self._store(connection, batch.changes)
                await outbox.append(connection, batch.events)
        except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, OSError, TimeoutError) as error:
            raise Aborted(f"{type(error).__name__}: {error}") from error
        await self._copy(batch.partition, batch.next_offset)

    async def _advance(self, connection: Connection, batch: Batch) -> None:
        """Compare and set, first of all: it locks the row, so a zombie waits here and then finds itself fenced."""
        mine = self._epochs[batch.partition]
        done = await connection.execute(
            ADVANCE, self._kafka.group, *batch.partition, mine, batch.old_offset, batch.next_offset
        )
        if done != "UPDATE 1":
            raise Fenced(f"{batch.partition}: epoch {mine} at offset {batch.old_offset} is no longer mine")

    async def _copy(self, partition: Partition, offset: int) -> None:
        with suppress(Exception):  # a copy for lag tools; the next settle writes a newer one
            await self._kafka.commit({partition: offset})

    async def abandon(self, partition: Partition) -> None:
        self._epochs.pop(partition, None)
