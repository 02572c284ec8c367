"""Kafka to Postgres: rows, outbox rows and the input offset are one Postgres transaction.

The truth of the offset is the row in consumer_offsets; what is committed to Kafka afterwards is a copy for lag
tools and is never read back.
"""

import asyncio
from contextlib import suppress

from roadloop_runtime.broker import Aborted, Member
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Batch, Offsets, Settled

COPY_AGAIN_S = 10.0


class PostgresSettlement:
    """Holds the epoch of each partition this worker owns, and what was copied when."""

    def __init__(self, kafka: Member, offsets: Offsets) -> None:
        self._kafka = kafka
        self._offsets = offsets
        self._epochs: dict[Partition, int] = {}
        self._copies: dict[Partition, tuple[int, float]] = {}

    async def take_over(self, partition: Partition) -> Settled:
        owned = await self._offsets.take_over(self._kafka.group, partition)
        self._epochs[partition] = owned.epoch
        if owned.next_offset is not None:
            await self._copy(partition, owned.next_offset)
        return Settled(owned.next_offset, owned.topic_id)

    async def settle(self, batch: Batch) -> None:
        epoch = self._epochs.get(batch.partition)
        if epoch is None:
            raise Aborted(f"{batch.partition}: not taken over")
        await self._offsets.settle(self._kafka.group, epoch, batch)
        await self._copy(batch.partition, batch.next_offset)

    async def look_after(self, partition: Partition) -> None:
        """Copy the offset again: the copy may have failed, and no newer one may come for days."""
        offset, copied_at = self._copies.get(partition, (None, 0.0))
        if offset is not None and asyncio.get_running_loop().time() - copied_at >= COPY_AGAIN_S:
            await self._copy(partition, offset)

    async def _copy(self, partition: Partition, offset: int) -> None:
        self._copies[partition] = (offset, asyncio.get_running_loop().time())
        with suppress(Exception):  # a copy for lag tools: it is made again
            await self._kafka.commit({partition: offset})

    async def abandon(self, partition: Partition) -> None:
        self._epochs.pop(partition, None)
        self._copies.pop(partition, None)
