"""Kafka for what needs no group, and the way to a member of one."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from roadloop_runtime.broker import Take
from roadloop_runtime.kafka.member import KafkaMember
from roadloop_runtime.kafka.reader import REQUEST_TIMEOUT_S, Follower, read_partition
from roadloop_runtime.kafka.writer import KafkaWriter, fence
from roadloop_runtime.records import Event, Partition, Record


class Kafka:
    """A Kafka cluster as one process sees it. `client_id` names the process in the broker's lists."""

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id

    def member(self, group: str, member: str) -> KafkaMember:
        return KafkaMember(self, self._bootstrap, self._client_id, group, member)

    async def fence(self, transactional_id: str) -> KafkaWriter:
        return await fence(self._bootstrap, self._client_id, transactional_id)

    async def read(self, partition: Partition) -> Sequence[Record]:
        return await read_partition(self._bootstrap, partition)

    async def write(self, event: Event) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True)
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await producer.start()
            try:
                await producer.send_and_wait(
                    event.topic, event.value, event.key, event.partition, headers=list(event.headers)
                )
            finally:
                await producer.stop()

    async def follow(self, topic: str, take: Take) -> None:
        await Follower(self._bootstrap, topic, take).run()
