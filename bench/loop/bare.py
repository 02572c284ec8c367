"""The same copy written against the client alone. Run as `python -m loop.bare JOB`; the job's mode picks the variant.

`batch` and `send` write a transaction per input partition and 1,000 records, offsets inside, as the consume loop does;
`commit` writes with one idempotent producer and commits offsets after it. It decodes every event, and leaves out all
else: no envelope, no dead letters, no fencing of an older owner, no take-over after a rebalance.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from loop.client import BATCH, MAX_BATCH_BYTES, Job, Meter, take_job
from loop.seen import FrameSeen

Write = Callable[[AIOKafkaProducer, Job, int, Sequence[Any]], Awaitable[None]]
Settle = Callable[[TopicPartition, Sequence[Any], int], Awaitable[None]]


def make_consumer(job: Job) -> AIOKafkaConsumer:
    """Read with the consume loop's settings."""
    return AIOKafkaConsumer(
        job.source,
        bootstrap_servers=job.bootstrap,
        group_id=job.target,
        group_instance_id="bench-0",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        partition_assignment_strategy=(StickyPartitionAssignor,),
        max_partition_fetch_bytes=2 * 1024 * 1024,
    )


async def start_producer(job: Job, **guarantee: object) -> AIOKafkaProducer:
    """Start a producer with the consume loop's settings."""
    producer = AIOKafkaProducer(
        bootstrap_servers=job.bootstrap,
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=2 * 1024 * 1024,
        compression_type="lz4",
        **guarantee,
    )
    await producer.start()
    return producer


async def write_each(producer: AIOKafkaProducer, job: Job, partition: int, records: Sequence[Any]) -> None:
    """Write by one `send` per record."""
    deliveries = [
        await producer.send(job.target, record.value, record.key, partition, headers=list(record.headers))
        for record in records
    ]
    await asyncio.gather(*deliveries)


async def write_batches(producer: AIOKafkaProducer, job: Job, partition: int, records: Sequence[Any]) -> None:
    """Write by batches built by hand."""
    deliveries = []
    batch = producer.create_batch()
    for record in records:
        headers = list(record.headers)
        if batch.append(timestamp=None, key=record.key, value=record.value, headers=headers) is None:
            deliveries.append(await producer.send_batch(batch, job.target, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=None, key=record.key, value=record.value, headers=headers)
    batch.close()
    deliveries.append(await producer.send_batch(batch, job.target, partition=partition))
    await asyncio.gather(*deliveries)


def settle_in_transactions(job: Job, producers: Mapping[TopicPartition, AIOKafkaProducer], write: Write) -> Settle:
    """Settle a partition's records and its offset in one transaction of the partition's own producer."""

    async def settle(tp: TopicPartition, records: Sequence[Any], offset: int) -> None:
        async with producers[tp].transaction():
            await write(producers[tp], job, tp.partition, records)
            await producers[tp].send_offsets_to_transaction({tp: offset}, job.target)

    return settle


def settle_with_commits(
    job: Job, producers: Mapping[TopicPartition, AIOKafkaProducer], consumer: AIOKafkaConsumer
) -> Settle:
    """Write, wait for it, then commit the offset."""

    async def settle(tp: TopicPartition, records: Sequence[Any], offset: int) -> None:
        await write_batches(producers[tp], job, tp.partition, records)
        await consumer.commit({tp: offset})

    return settle


async def copy(consumer: AIOKafkaConsumer, tp: TopicPartition, end: int, settle: Settle) -> int:
    """Copy one partition up to its end; return the number of commits. Six of these run beside each other."""
    position = commits = 0
    while position < end:
        for records in (await consumer.getmany(tp, timeout_ms=100, max_records=BATCH)).values():
            for record in records:
                FrameSeen.model_validate_json(record.value)
            position = records[-1].offset + 1
            await settle(tp, records, position)
            commits += 1
    return commits


async def main() -> None:
    """Copy until the last record is committed."""
    job = take_job(Job)
    meter = Meter(job)
    consumer = make_consumer(job)
    await consumer.start()
    partitions = sorted(consumer.assignment())
    ends = await consumer.end_offsets(partitions)
    meter.start()
    if job.mode == "commit":
        producers = dict.fromkeys(partitions, await start_producer(job, enable_idempotence=True))
        settle = settle_with_commits(job, producers, consumer)
    else:
        producers = {
            tp: await start_producer(job, transactional_id=f"{job.target}.{tp.partition}") for tp in partitions
        }
        settle = settle_in_transactions(job, producers, write_each if job.mode == "send" else write_batches)
    commits = await asyncio.gather(*[copy(consumer, tp, ends[tp], settle) for tp in partitions])
    meter.stop(sum(ends.values()), sum(commits))
    for client in {consumer, *producers.values()}:
        await client.stop()


if __name__ == "__main__":
    asyncio.run(main())
