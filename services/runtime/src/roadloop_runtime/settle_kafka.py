"""Kafka to Kafka: one transaction per input partition holds outputs, dead letters, memory changes and the offset.

The id is per input partition, not per worker, because aiokafka's offset commits carry no group generation
(the scheme of Kafka Streams before KIP-447): who starts the id's producer fences the owner before.
"""

from roadloop_runtime.kafka import Aborted, Kafka, Producer, abandon
from roadloop_runtime.records import Partition
from roadloop_runtime.settle import Batch


class KafkaSettlement:
    """Holds the transactional producer of each partition this worker owns."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._producers: dict[Partition, Producer] = {}

    async def take_over(self, partition: Partition) -> int | None:
        await self.abandon(partition)
        transactional_id = f"{self._kafka.group}.{partition.topic}.{partition.partition}"
        self._producers[partition] = await self._kafka.fence(transactional_id)
        return await self._kafka.committed(partition)

    async def settle(self, batch: Batch) -> None:
        if batch.changes:
            raise TypeError(f"{batch.partition}: changes are for Postgres; this group settles to Kafka")
        producer = self._producers.get(batch.partition)
        if producer is None:
            raise Aborted(f"{batch.partition}: not taken over")
        await self._kafka.transact(producer, batch.events, {batch.partition: batch.next_offset})

    async def abandon(self, partition: Partition) -> None:
        if producer := self._producers.pop(partition, None):
            await abandon(producer)
