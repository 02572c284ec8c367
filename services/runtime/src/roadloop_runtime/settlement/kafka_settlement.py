"""Kafka to Kafka: one transaction per input partition holds outputs, dead letters, memory changes and the offset.

The id is per input partition, not per worker, because aiokafka's offset commits carry no group generation
(the scheme of Kafka Streams before KIP-447): who starts the id's producer fences the owner before.
"""

from roadloop_runtime.broker import Aborted, Member, Writer
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Batch, Settled


class KafkaSettlement:
    """Holds the transactional writer of each partition this worker owns."""

    def __init__(self, kafka: Member) -> None:
        self._kafka = kafka
        self._writers: dict[Partition, Writer] = {}

    async def take_over(self, partition: Partition) -> Settled:
        await self.abandon(partition)
        transactional_id = f"{self._kafka.group}.{partition.topic}.{partition.partition}"
        self._writers[partition] = await self._kafka.broker.fence(transactional_id)
        return Settled(await self._kafka.committed(partition))

    async def settle(self, batch: Batch) -> None:
        if batch.changes:
            raise TypeError(f"{batch.partition}: changes are for Postgres; this group settles to Kafka")
        writer = self._writers.get(batch.partition)
        if writer is None:
            raise Aborted(f"{batch.partition}: not taken over")
        await writer.transact(batch.events, {batch.partition: batch.next_offset}, self._kafka.group)

    async def look_after(self, partition: Partition) -> None:
        """Nothing here is a copy."""

    async def abandon(self, partition: Partition) -> None:
        if writer := self._writers.pop(partition, None):
            await writer.close()
