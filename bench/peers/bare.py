"""The client alone, as its documentation shows it. Run as `python -m peers.bare TASK`; the mode picks the guarantee.

`at-least-once` writes with an idempotent producer and commits afterwards; `transactions` commits inside of one
transaction ("Transactional Consume-Process-Produce"). A client has no policy for what raises: here a call that failed
is made again. Anything else ends the process: whoever supervises it starts it again, and it goes on at the last commit.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import stamina
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from loop.bare import start_producer
from peers.work import StubFailed, Task, Work, take_task

AT_ONCE = 500


async def process(work: Work, records: Sequence[Any], concurrency: int) -> None:
    """Decode and call, for several records at once."""
    limit = asyncio.Semaphore(concurrency)

    async def process_record(record: Any) -> None:
        async with limit:
            work.decode(record.value)
            async for attempt in stamina.retry_context(on=StubFailed, attempts=None, timeout=None):
                with attempt:
                    await work.call()

    async with asyncio.TaskGroup() as group:
        for record in records:
            group.create_task(process_record(record))


async def write(producer: AIOKafkaProducer, target: str, records: Sequence[Any]) -> None:
    """Write copies, and wait until they are acknowledged."""
    deliveries = [await producer.send(target, r.value, r.key, headers=list(r.headers)) for r in records]
    await asyncio.gather(*deliveries)


def find_next_offsets(records: Sequence[Any]) -> dict[TopicPartition, int]:
    """Return where to go on after records."""
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}


async def copy(task: Task, work: Work, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """Copy for ever."""
    while True:
        polled = await consumer.getmany(timeout_ms=100, max_records=AT_ONCE)
        if not (records := [record for partition in polled.values() for record in partition]):
            continue
        await process(work, records, task.concurrency)
        if task.mode == "transactions":
            async with producer.transaction():
                await write(producer, task.target, records)
                await producer.send_offsets_to_transaction(find_next_offsets(records), task.target)
        else:
            await write(producer, task.target, records)
            await consumer.commit(find_next_offsets(records))


async def main() -> None:
    """Copy until something raises."""
    task = take_task()
    guarantee = {"transactional_id": task.target} if task.mode == "transactions" else {"enable_idempotence": True}
    consumer = AIOKafkaConsumer(
        task.source,
        bootstrap_servers=task.bootstrap,
        group_id=task.target,
        group_instance_id="bench-0",
        session_timeout_ms=6_000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer = await start_producer(task, **guarantee)
    async with consumer:
        try:
            await copy(task, Work(task), consumer, producer)
        finally:
            await producer.stop()


if __name__ == "__main__":
    asyncio.run(main())
