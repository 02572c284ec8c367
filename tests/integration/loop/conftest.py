"""A copy service with topics, a group and a schema of its own, and processes to kill."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from roadloop_local.addresses import Stack
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition

PARTITIONS = 3
TABLES = """
create schema {schema};
create table {schema}.consumer_offsets (
    consumer_group text, topic text, partition int, epoch bigint not null, next_offset bigint, topic_id text,
    settled_at timestamptz not null default now(), primary key (consumer_group, topic, partition));
create table {schema}.outbox (
    id bigint generated always as identity primary key, number bigint unique, topic text not null, partition int,
    key bytea, value bytea, header_names bytea[] not null, header_values bytea[] not null);
create table {schema}.counters (partition int, key bytea, count int, primary key (partition, key));
"""


@dataclass
class Copying:
    """One copy service under test."""

    mode: str
    stack: Stack
    folder: Path
    name: str
    dsn: str
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return f"{self.name}.in.v1"

    @property
    def target(self) -> str:
        return f"{self.name}.out.v1"

    @property
    def dead_letters(self) -> str:
        return f"dlq.{self.name}.{self.source}"

    def start(self, member: str, *, log: str | None = None) -> "subprocess.Popen[bytes]":
        env = os.environ | {
            "COPY_KAFKA": self.stack.kafka_bootstrap,
            "COPY_DSN": self.dsn,
            "COPY_GROUP": self.name,
            "COPY_IN": self.source,
            "COPY_OUT": self.target,
            "COPY_MEMORY": f"{self.name}.memory.v1",
            "COPY_MEMBER": member,
        }
        with (self.folder / f"{log or member}.log").open("ab") as out:
            program = [sys.executable, str(Path(__file__).with_name("copier.py")), self.mode]
            process = subprocess.Popen(program, env=env, stdout=out, stderr=subprocess.STDOUT)
        self.processes[log or member] = process
        return process

    def log(self, member: str) -> str:
        return (self.folder / f"{member}.log").read_text()

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    async def put(self, first: int, last: int, *, keys: int = 20) -> None:
        """Write records `first` to `last` - 1; the value is the number, the key its remainder."""
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.kafka_bootstrap, enable_idempotence=True)
        await producer.start()
        sent = [
            await producer.send(self.source, str(n).encode(), str(n % keys).encode(), n % keys % PARTITIONS)
            for n in range(first, last)
        ]
        await asyncio.gather(*sent)
        await producer.stop()

    async def put_values(self, *values: bytes, partition: int = 0) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.kafka_bootstrap, enable_idempotence=True)
        await producer.start()
        for value in values:
            await producer.send_and_wait(
                self.source, value, b"k", partition, headers=[("h", b"1"), ("nul\0name", b"2")]
            )
        await producer.stop()

    async def copied(self, topic: str | None = None) -> "list[list[tuple[bytes | None, bytes]]]":
        """Return what a read_committed reader sees, per partition."""
        read = [
            await read_partition(self.stack.kafka_bootstrap, Partition(topic or self.target, p))
            for p in range(PARTITIONS)
        ]
        return [[(r.key, r.value or b"") for r in records] for records in read]

    async def has_copied(self, count: int) -> bool:
        return sum(map(len, await self.copied())) >= count

    async def lag(self) -> int:
        """Return the records between the committed offsets and the log's end, markers included."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.stack.kafka_bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.stack.kafka_bootstrap)
        await client.start()
        await consumer.start()
        committed = await client.list_consumer_group_offsets(self.name)
        ends = await consumer.end_offsets([TopicPartition(self.source, p) for p in range(PARTITIONS)])
        await consumer.stop()
        await client.close()
        return sum(end - (committed[tp].offset if tp in committed else 0) for tp, end in ends.items())


def assert_each_once(copied: "list[list[tuple[bytes | None, bytes]]]", count: int) -> None:
    """Every input has exactly one copy, in order per partition, and every count is that of a calm run."""
    seen = [json.loads(value) for partition in copied for _, value in partition]
    assert sorted(entry["id"] for entry in seen) == list(range(count))
    for partition in copied:
        numbers = [json.loads(value)["id"] for _, value in partition]
        assert numbers == sorted(numbers)
        counts: dict[bytes | None, int] = {}
        for key, value in partition:
            counts[key] = counts.get(key, 0) + 1
            assert json.loads(value)["count"] == counts[key]


@pytest.fixture(params=["kafka", "postgres"])
async def copying(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path) -> AsyncIterator[Copying]:
    name = f"copy-{request.param}-{uuid.uuid4().hex[:8]}"
    schema = name.replace("-", "_")
    dsn = f"{stack.postgres_dsn('postgres')}?options=-csearch_path%3D{schema}"
    copying = Copying(request.param, stack, tmp_path, name, dsn if request.param == "postgres" else "")
    topics = [
        NewTopic(topic, partitions, 1)
        for topic, partitions in {
            copying.source: PARTITIONS,
            copying.target: PARTITIONS,
            copying.dead_letters: PARTITIONS,
            f"{name}.memory.v1": PARTITIONS,
            f"{name}.outbox.v1": 1,
            f"{name}.members.v1": 1,
        }.items()
    ]
    await admin.create_topics(stack.kafka_bootstrap, topics)
    connection = await asyncpg.connect(stack.postgres_dsn("postgres"))
    await connection.execute(TABLES.format(schema=schema))
    yield copying
    copying.end()
    await connection.execute(f"drop schema {schema} cascade")
    await connection.close()
