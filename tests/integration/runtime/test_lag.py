"""`roadloop lag` on a real broker: the numbers of Kafka's own tool, and the age of what is unread."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from typer.testing import CliRunner

from roadloop_local.addresses import Stack
from roadloop_local.binaries import find_binaries
from roadloop_local.servers import kafka as local_kafka
from roadloop_local.servers.kafka_jars import bring_jars, find_cache
from roadloop_runtime.commands import register
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.lag import Lag, sum_groups
from roadloop_runtime.kafka.read_lag import connect, read_lags
from tests.integration.loop.conftest import Copying
from tests.waiting import GUARD_S, eventually

pytestmark = pytest.mark.integration
Offsets = dict[tuple[str, int], tuple[str, str, str]]


def describe_with_kafkas_tool(stack: Stack, group: str) -> Offsets:
    """Return committed offset, end offset and lag per partition, as Kafka's own tool prints them."""
    tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    asked = ("--bootstrap-server", stack.kafka_bootstrap, "--describe", "--group", group)
    binaries = find_binaries()
    bring_jars(find_cache())
    command = local_kafka.build_java_command(stack.layout, binaries, tool, *asked)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(group)]
    return {(topic, int(partition)): (at, end, lag) for _, topic, partition, at, end, lag, *_ in rows}


def lag(*arguments: str) -> Any:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["lag", *arguments])


async def lags_of(copying: Copying) -> list[dict[str, Any]]:
    asked = ("--kafka", copying.stack.kafka_bootstrap, "--group", copying.name, "--json")
    said = await asyncio.to_thread(lag, *asked)
    assert said.exit_code == 0, said.output
    (group,) = json.loads(said.stdout)["groups"]
    assert group["records_behind"] == sum(found["records_behind"] for found in group["partitions"])
    partitions: list[dict[str, Any]] = group["partitions"]
    return partitions


def as_the_tool_says(partitions: list[dict[str, Any]]) -> Offsets:
    return {
        (found["topic"], found["partition"]): (
            str(found["committed_offset"]),
            str(found["end_offset"]),
            str(found["records_behind"]),
        )
        for found in partitions
    }


async def test_offsets_and_lag_are_those_of_kafkas_own_tool(copying: Copying) -> None:
    process = copying.start("a")
    await copying.put(0, 300)

    async def all_settled() -> bool:
        return await copying.has_copied(300) and await copying.lag() == 0

    await eventually("300 copies and lag 0", all_settled)
    process.terminate()
    assert await asyncio.to_thread(process.wait, GUARD_S) == 0
    before = time.time()
    await copying.put(300, 410)

    partitions = await lags_of(copying)
    assert sum(found["records_behind"] for found in partitions) == 110
    assert all(0 < found["seconds_behind"] <= time.time() - before for found in partitions)
    tool = await asyncio.to_thread(describe_with_kafkas_tool, copying.stack, copying.name)
    assert len(tool) == 3
    assert as_the_tool_says(partitions) == tool


@pytest.fixture
async def topic(stack: Stack) -> str:
    name = f"lag-{uuid.uuid4().hex[:8]}.in.v1"
    await admin.create_topics(stack.kafka_bootstrap, [NewTopic(name, 4, 1)])
    return name


async def commit(stack: Stack, group: str, offsets: dict[TopicPartition, int]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign(list(offsets))
    await consumer.commit(offsets)
    await consumer.stop()


async def read(stack: Stack, group: str, topics: tuple[str, ...]) -> list[Lag]:
    async with connect(stack.kafka_bootstrap) as clients:
        (total,) = sum_groups(await read_lags(clients, {group: topics}))
    return list(total.partitions)


async def test_only_committed_records_have_an_age(stack: Stack, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, transactional_id=f"{topic}.test")
    await producer.start()
    an_hour_ago_ms = int((time.time() - 3_600) * 1000)

    async def send(partition: int, age_h: int) -> None:
        await producer.send_and_wait(topic, b"v", b"k", partition, timestamp_ms=an_hour_ago_ms * age_h or None)

    async with producer.transaction():
        await send(0, 0)
        await send(1, 0)
    await producer.begin_transaction()
    await send(1, 0)
    await producer.abort_transaction()
    async with producer.transaction():
        await send(1, 1)
    await producer.begin_transaction()
    await send(2, 1)
    try:
        await commit(stack, topic, {TopicPartition(topic, 0): 1, TopicPartition(topic, 1): 1})
        found = await read(stack, topic, (topic,))
    finally:
        await producer.abort_transaction()
        await producer.stop()

    behind = [(one.partition, one.committed_offset, one.end_offset, one.records_behind) for one in found]
    assert behind == [(0, 1, 2, 1), (1, 1, 6, 5), (2, None, 1, 1), (3, None, 0, 0)]
    ages = [one.seconds_behind for one in found]
    assert [ages[0], ages[2], ages[3]] == [0, 0, 0], "a marker, an open transaction and an empty log are no records"
    assert ages[1] is not None
    assert 3_600 <= ages[1] < 3_700, "the aborted record is skipped"


async def test_a_group_of_another_is_shown_for_what_it_committed_and_with_all(stack: Stack, topic: str) -> None:
    await commit(stack, topic, {TopicPartition(topic, 3): 0})
    assert await read(stack, topic, ()) == [Lag(topic, topic, 3, 0, 0, 0, 0.0)]
    said = await asyncio.to_thread(lag, "--kafka", stack.kafka_bootstrap, "--all")
    assert said.exit_code == 0
    assert f"{topic}\t{topic}\t3\t0\t0\t0\t0.0" in said.stdout.splitlines()


async def test_watch_goes_on_until_ctrl_c_and_ends_with_0(stack: Stack, topic: str) -> None:
    await commit(stack, topic, {TopicPartition(topic, 0): 0})
    program = str(Path(sys.executable).with_name("roadloop"))
    asked = ("lag", "--kafka", stack.kafka_bootstrap, "--group", topic, "--json", "--watch", "--interval", "0.2")
    process = await asyncio.create_subprocess_exec(
        program, *asked, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(GUARD_S):
        looks = [json.loads(await process.stdout.readline())["groups"][0]["group"] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert (looks, process.returncode, errors) == ([topic, topic], 0, b"")


def test_a_broker_that_is_not_there_is_said_in_one_line() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        said = lag("--kafka", address)
    assert said.exit_code == 1
    assert said.stderr == (
        f"no Kafka broker answers at {address}: check --kafka, or start the local stack with `roadloop up`\n"
    )
