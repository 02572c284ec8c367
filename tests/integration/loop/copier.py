"""A service small enough to see through: copies a topic and counts per key, settled to Kafka or to Postgres.

Run as a process of its own, so that it can be killed: `python copier.py kafka|postgres`, settings from COPY_*.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import immutables

from roadloop_runtime.handler import Handler
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.loop.identity import make_identity
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outbox.outbox_table import publish_outbox
from roadloop_runtime.outcome import DeadLetter, Emit, LoopReason, Outcome, Skip, Undecodable
from roadloop_runtime.records import Event, Partition, Record
from roadloop_runtime.service import lifecycle, logs
from roadloop_runtime.settlement.kafka_settlement import KafkaSettlement
from roadloop_runtime.settlement.offset_table import OffsetTable
from roadloop_runtime.settlement.postgres_settlement import PostgresSettlement
from roadloop_runtime.storage.postgres import Connection, open_pool

Counts = immutables.Map[bytes, int]
COUNT = """
insert into counters (partition, key, count) values ($1, $2, $3)
on conflict (partition, key) do update set count = excluded.count
"""


def decode(record: Record) -> Record:
    if record.value == b"poison":
        raise Undecodable(DeadLetter(LoopReason.UNDECODABLE, "poison", "value", "must not be poison", "send JSON"))
    return record


async def observe(record: Record) -> Record:
    await asyncio.sleep(0.001 * (record.offset % 7))  # later records are often ready before the head
    return record


def decide(counts: Counts, record: Record, settings: dict[str, str]) -> tuple[Counts, Outcome]:
    key = record.key or b""
    if record.value == b"skip":
        return counts, Skip(LoopReason.UNDECODABLE)
    count = counts.get(key, 0) + 1
    value = json.dumps({"id": json.loads(record.value or b"0"), "count": count}).encode()
    copied = Event(settings["OUT"], key, value, tuple(record.headers), record.partition)
    return counts.set(key, count), Emit((copied,), ((record.partition, key, count),) if settings["DSN"] else ())


def remember(topic: str) -> Any:
    def changed(partition: int, old: Counts, new: Counts) -> Iterable[Event]:
        return [
            Event(topic, key, str(count).encode(), (), partition) for key, count in new.items() if old.get(key) != count
        ]

    return changed


async def store(connection: Connection, changes: Sequence[Any]) -> None:
    await connection.executemany(COUNT, changes)


async def main(stopping: asyncio.Event) -> None:
    env = {
        name: os.environ.get(f"COPY_{name}", "") for name in ("KAFKA", "DSN", "GROUP", "IN", "OUT", "MEMORY", "MEMBER")
    }
    me = make_identity(env["MEMBER"])
    kafka = Kafka(env["KAFKA"], me.client_id)
    claim = Claim(kafka, env["GROUP"], me, env["GROUP"] + ".members.v1")
    if sys.argv[1] == "kafka":
        await _copy_to_kafka(env, claim, kafka, stopping)
    else:
        await _copy_to_postgres(env, claim, kafka, stopping)


async def _copy_to_kafka(env: dict[str, str], claim: Claim, kafka: Kafka, stopping: asyncio.Event) -> None:
    async def rebuild(partition: int) -> Counts:
        records = await kafka.read(Partition(env["MEMORY"], partition))
        return immutables.Map({r.key or b"": int(r.value or 0) for r in records})

    handler = Handler(
        decode=decode,
        observe=observe,
        decide=decide,
        rebuild=rebuild,
        policy=lambda: env,
        remember=remember(env["MEMORY"]),
        is_new=lambda counts: not counts,
    )
    member = kafka.member(claim.group, claim.me.member)
    loop = Loop(claim, {env["IN"]: handler}, kafka=member, settlement=KafkaSettlement(member))
    await lifecycle.run_side_by_side(stopping, [lifecycle.run_and_tell_fenced_apart(claim, loop.run(stopping))], [])


async def _copy_to_postgres(env: dict[str, str], claim: Claim, kafka: Kafka, stopping: asyncio.Event) -> None:
    pool = await open_pool(env["DSN"], name=claim.me.member)

    async def rebuild(partition: int) -> Counts:
        rows = await pool.fetch("select key, count from counters where partition = $1", partition)
        return immutables.Map({row["key"]: row["count"] for row in rows})

    handler = Handler(decode=decode, observe=observe, decide=decide, rebuild=rebuild, policy=lambda: env)
    member = kafka.member(claim.group, claim.me.member)
    settlement = PostgresSettlement(member, OffsetTable(pool, store))
    loop = Loop(claim, {env["IN"]: handler}, kafka=member, settlement=settlement)
    publish = publish_outbox(env["DSN"], kafka, env["GROUP"])
    await lifecycle.run_side_by_side(
        stopping, [lifecycle.run_and_tell_fenced_apart(claim, loop.run(stopping))], [publish]
    )
    await pool.close()


if __name__ == "__main__":
    logs.configure("copier", "INFO")
    sys.exit(lifecycle.run(main))
