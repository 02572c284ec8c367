"""FastStream on aiokafka, acknowledged once a record is done. Run as `python -m peers.fast TASK`.

Mode `each` handles a record at a time and partition, with a consumer per partition (`max_workers`); mode `batch` takes
what is there. What raises is read again (`AckPolicy.NACK_ON_ERROR`): by default it is acknowledged before it is done.
"""

import asyncio
from collections import defaultdict

from aiokafka import ConsumerRecord
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaPublishMessage

from loop.client import PARTITIONS
from loop.seen import FrameSeen
from peers.work import Task, Work, take_task

SETTINGS = {
    "auto_offset_reset": "earliest",
    "isolation_level": "read_committed",
    "ack_policy": AckPolicy.NACK_ON_ERROR,
    "session_timeout_ms": 6_000,
}


def copy_by_record(app: FastStream, broker: KafkaBroker, task: Task) -> None:
    """Copy a record at a time."""
    work, publisher = Work(task), broker.publisher(task.target)

    @broker.subscriber(task.source, group_id=task.target, max_workers=PARTITIONS, **SETTINGS)
    async def copy(_seen: FrameSeen, message: KafkaMessage) -> None:
        if work.over:
            app.exit()
            return
        work.begin()
        await work.call()
        await publisher.publish(message.body, key=message.raw_message.key, headers=message.headers)
        work.count(1)


def copy_by_batch(app: FastStream, broker: KafkaBroker, task: Task) -> None:
    """Copy what is there; a batch written goes to one partition, so there is one for each."""
    work = Work(task)

    @broker.subscriber(
        task.source,
        group_id=task.target,
        batch=True,
        max_records=task.concurrency,
        group_instance_id="bench-0",
        **SETTINGS,
    )
    async def copy(frames: list[FrameSeen], message: KafkaMessage) -> None:
        if work.over:
            app.exit()
            return
        work.begin()
        await asyncio.gather(*(work.call() for _ in frames))
        batches: dict[int, list[ConsumerRecord]] = defaultdict(list)
        for record in message.raw_message:
            batches[record.partition].append(record)
        for partition, records in batches.items():
            copies = [KafkaPublishMessage(record.value, key=record.key) for record in records]
            await broker.publish_batch(*copies, topic=task.target, partition=partition)
        work.count(len(frames))


async def main() -> None:
    """Copy until told to stop."""
    task = take_task()
    broker = KafkaBroker(
        task.bootstrap,
        enable_idempotence=True,
        compression_type="lz4",
        max_batch_size=2**20,  # what is published as a batch must fit into one
        logger=None,
    )
    app = FastStream(broker, logger=None)
    (copy_by_record if task.mode == "each" else copy_by_batch)(app, broker, task)
    await app.run()


if __name__ == "__main__":
    asyncio.run(main())
