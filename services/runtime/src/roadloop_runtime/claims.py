"""Of two live processes with one member id the older must end: here each says when it started.

The broker tells static members with one id apart only by letting them steal the group from each other for ever, and
shows the first one's client id whoever is in. So every process writes its start to a compacted topic and follows it.
"""

from aiokafka import AIOKafkaProducer

from roadloop_runtime.kafka_read import Follower, read_partition
from roadloop_runtime.process import Identity, Superseded
from roadloop_runtime.records import Partition, Record

TOPIC = "runtime.members.v1"


def _key(group: str, me: Identity) -> bytes:
    return f"{group}/{me.member}".encode()


async def claim(bootstrap: str, topic: str, group: str, me: Identity) -> None:
    """Write the claim; older processes of this member id end when they see it."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(topic, str(me.started_at_ms).encode(), _key(group, me), 0)
    finally:
        await producer.stop()


async def watch(bootstrap: str, topic: str, group: str, me: Identity) -> None:
    """Follow the claims; raises Superseded when a younger process has mine."""

    async def look(record: Record) -> None:
        if _is_younger(record, group, me):
            raise Superseded(f"a younger process has my member id {me.member} in {group}: I end and stay ended")

    await Follower(bootstrap, topic, look).run()


async def is_superseded(bootstrap: str, topic: str, group: str, me: Identity) -> bool:
    """Read all claims anew and say whether a younger process has mine."""
    records = await read_partition(bootstrap, Partition(topic, 0))
    return any(_is_younger(record, group, me) for record in records)


def _is_younger(record: Record, group: str, me: Identity) -> bool:
    return record.key == _key(group, me) and int(record.value or b"0") > me.started_at_ms
