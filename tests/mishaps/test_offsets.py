"""An offset belongs to one log: a topic made again, offsets gone or expired; and a clock that was wrong once."""

import asyncio
import json
import re
import time
from typing import Any

import pytest
import typer
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.protocol.admin import DeleteGroupsRequest
from typer.testing import CliRunner

from roadloop_runtime.commands import register
from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.kafka.reader import read_end_offsets
from roadloop_runtime.records import Event
from tests.integration.loop.conftest import PARTITIONS, Copying, assert_each_once
from tests.waiting import GUARD_S, eventually

pytestmark = pytest.mark.integration


def offsets(copying: Copying, *arguments: str) -> Any:
    app = typer.Typer()
    register(app)
    postgres = ("--postgres", copying.dsn) if copying.dsn else ()
    where = ("--kafka", copying.stack.kafka_bootstrap, *postgres)
    return CliRunner().invoke(app, ["offsets", *arguments, *where], catch_exceptions=False)


async def ask(copying: Copying, *arguments: str) -> Any:
    return await asyncio.to_thread(offsets, copying, *arguments)


async def copy_and_stop(copying: Copying, first: int, last: int) -> None:
    process = copying.start("a")
    await copying.put(first, last)
    await eventually("copies", lambda: copying.has_copied(last))
    process.terminate()
    assert await asyncio.to_thread(process.wait, GUARD_S) == 0


async def recreate(copying: Copying, topic: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=copying.stack.kafka_bootstrap)
    await client.start()
    await client.delete_topics([topic])
    await client.close()

    async def is_gone() -> bool:
        return topic not in await admin.read_partition_counts(copying.stack.kafka_bootstrap)

    await eventually("the topic is gone", is_gone)
    await admin.create_topics(copying.stack.kafka_bootstrap, [NewTopic(topic, PARTITIONS, 1)])


async def assert_refused(copying: Copying, *sentences: str) -> None:
    """Start the service: it must end by itself, and its log say why."""
    process = copying.start("a", log="refused")
    assert await asyncio.to_thread(process.wait, GUARD_S) == 1
    for sentence in sentences:
        assert sentence in copying.log("refused")


@pytest.mark.parametrize("copying", ["postgres"], indirect=True)
async def test_a_topic_that_was_made_again_is_never_read_on_by_itself(copying: Copying) -> None:
    """Not even where the new log has outgrown the offset: what came first would be skipped unseen."""
    await copy_and_stop(copying, 0, 300)
    await recreate(copying, copying.source)
    await copying.put(300, 900)
    command = f"roadloop offsets reset {copying.name} {copying.source} --to start"
    await assert_refused(copying, "the topic was deleted and made again", command)

    shown = await ask(copying, "show", copying.name)
    assert (shown.exit_code, "of another log" in shown.output) == (1, True), shown.output
    planned = await ask(copying, "reset", copying.name, copying.source, "--to", "start", "--dry-run")
    assert "what was unread in the log of before is lost" in planned.output
    assert (await ask(copying, "show", copying.name)).exit_code == 1, "a dry run changes nothing"

    done = await ask(copying, "reset", copying.name, copying.source, "--to", "start")
    assert (done.exit_code, done.output) == (0, planned.output)
    assert (await ask(copying, "show", copying.name)).exit_code == 0
    copying.start("a", log="again")
    await eventually("copies", lambda: copying.has_copied(900))
    assert_each_once(await copying.copied(), 900)


@pytest.mark.parametrize("copying", ["kafka"], indirect=True)
async def test_a_memory_without_its_offset_is_refused(copying: Copying) -> None:
    """A group that was deleted, or whose offsets expired: all would be copied a second time."""
    await copy_and_stop(copying, 0, 300)
    assert (await ask(copying, "show", copying.name)).exit_code == 0
    await delete_group(copying)
    command = f"roadloop offsets reset {copying.name} {copying.source} --to end"
    await assert_refused(copying, "but has no offset", command)

    first = await ask(copying, "reset", copying.name, copying.source, "--to", "end")
    assert (first.exit_code, "has members. Stop its workers" in first.output) == (1, True), first.output

    async def is_reset() -> bool:
        return bool((await ask(copying, "reset", copying.name, copying.source, "--to", "end")).exit_code == 0)

    await eventually("the session of the worker that ended is over", is_reset)
    await copying.put(300, 400)
    copying.start("a", log="again")
    await eventually("copies", lambda: copying.has_copied(400))
    assert_each_once(await copying.copied(), 400)


async def delete_group(copying: Copying) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=copying.stack.kafka_bootstrap)
    await client.start()
    coordinator = await client.find_coordinator(copying.name)

    async def is_deleted() -> bool:
        answer = await client._send_request_to_node(coordinator, DeleteGroupsRequest([copying.name]))
        return bool(answer.results[0][1] == 0)

    await eventually("the member's session is over and the group deleted", is_deleted)
    await client.close()


@pytest.mark.parametrize("copying", ["postgres"], indirect=True)
async def test_records_that_expired_unread_are_told_and_gone_on_behind(copying: Copying) -> None:
    await copy_and_stop(copying, 0, 300)
    await copying.put(300, 600)
    await expire(copying, copying.source)
    await assert_refused(copying, "records expired unread", f"roadloop offsets accept-gap {copying.name}")
    done = await ask(copying, "accept-gap", copying.name, copying.source)
    lost = [int(count) for count in re.findall(r": (\d+) are never read", done.output)]
    assert (done.exit_code, len(lost), sum(lost)) == (0, PARTITIONS, 300), done.output
    again = await ask(copying, "accept-gap", copying.name, copying.source)
    assert (again.exit_code, again.output) == (0, "there is no gap: every offset is within its log\n")
    await copying.put(600, 700)
    copying.start("a", log="again")
    await eventually("copies", lambda: copying.has_copied(400))
    numbers = {json.loads(value)["id"] for partition in await copying.copied() for _, value in partition}
    assert numbers == {*range(300), *range(600, 700)}


async def expire(copying: Copying, topic: str) -> None:
    """Delete all that is in a topic, as its retention would."""
    client = AIOKafkaAdminClient(bootstrap_servers=copying.stack.kafka_bootstrap)
    await client.start()
    ends = await read_end_offsets(copying.stack.kafka_bootstrap, topic, PARTITIONS)
    await client.delete_records({TopicPartition(topic, number): RecordsToDelete(end) for number, end in ends.items()})
    await client.close()


@pytest.mark.parametrize("copying", ["postgres"], indirect=True)
async def test_a_copy_in_kafka_is_not_taken_for_the_truth(copying: Copying) -> None:
    await copy_and_stop(copying, 0, 30)
    copying.dsn = ""
    shown = await ask(copying, "show", copying.name)
    assert (shown.exit_code, "keeps its offsets in Postgres" in shown.output) == (1, True), shown.output


@pytest.mark.parametrize("copying", ["kafka"], indirect=True)
async def test_a_clock_that_was_wrong_once_keeps_no_worker_out(copying: Copying) -> None:
    an_hour_ahead = str(time.time_ns() // 1_000_000 + 3_600_000).encode()
    claim = Event(f"{copying.name}.members.v1", f"{copying.name}/a".encode(), an_hour_ahead, (), 0)
    await Kafka(copying.stack.kafka_bootstrap, "test").write(claim)
    await copy_and_stop(copying, 0, 60)


@pytest.mark.parametrize("copying", ["postgres"], indirect=True)
async def test_what_cannot_be_moved_says_what_to_do(copying: Copying) -> None:
    misspelt = await ask(copying, "reset", "scren", "frames.ingested.v1", "--to", "end")
    assert (misspelt.exit_code, "scren does not read frames.ingested.v1: screen does" in misspelt.output) == (1, True)
    copying.dsn = "postgresql://nobody@127.0.0.1:1/none"
    away = await ask(copying, "show", copying.name)
    assert (away.exit_code, "check --postgres" in away.output) == (1, True), away.output
