"""The topics of a measurement: fill the input once, compare every output with it byte for byte."""

import asyncio
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from loop.client import MAX_BATCH_BYTES, PARTITIONS
from loop.event import make_event
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition, Record

Prints = Sequence[Sequence[bytes]]
"""Per partition, one fingerprint per record."""


async def create(bootstrap: str, names: Iterable[str], partitions: int = PARTITIONS) -> None:
    """Create topics."""
    await admin.create_topics(bootstrap, [NewTopic(name, partitions, 1) for name in names])


async def delete(bootstrap: str, names: Sequence[str]) -> None:
    """Delete topics, so that the disk holds one output at a time."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    await client.delete_topics(names)
    await client.close()


async def fill(bootstrap: str, topic: str, records: int) -> None:
    """Write the input. A record's key picks its partition: not every peer can choose another one for its copy."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        linger_ms=20,
        max_batch_size=MAX_BATCH_BYTES,
        compression_type="lz4",
    )
    await producer.start()
    deliveries: list[asyncio.Future[object]] = []
    for n in range(records):
        event = make_event(n, topic)
        deliveries.append(await producer.send(topic, event.value, event.key, headers=list(event.headers)))
        if len(deliveries) == 6_000:
            await asyncio.gather(*deliveries)
            deliveries.clear()
    await asyncio.gather(*deliveries)
    await producer.stop()


async def read_fingerprints(bootstrap: str, topic: str) -> Prints:
    """Return a fingerprint of every record that a read_committed reader sees."""
    return [[_fingerprint(r) for r in await read_partition(bootstrap, Partition(topic, p))] for p in range(PARTITIONS)]


def _fingerprint(record: Record) -> bytes:
    return blake2b(b"\x1f".join([record.key or b"", record.value or b""]), digest_size=12).digest()


def check_copy(source: Prints, target: Prints, records: int) -> None:
    """Raise unless the output holds so many records or more, each partition the beginning of its input.

    More, because a program that copies several at once may have some under way when its time is over.
    """
    copied_records = sum(map(len, target))
    if copied_records < records:
        raise ValueError(f"the output holds {copied_records} records, not {records}")
    for partition, (expected, copied) in enumerate(zip(source, target, strict=True)):
        if list(copied) != list(expected[: len(copied)]):
            raise ValueError(f"partition {partition} of the output is not a copy of the input")
