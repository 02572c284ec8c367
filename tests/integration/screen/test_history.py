"""History on real servers: each verdict once whatever happens to its writers, and the same verdicts out of it again."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pyarrow as pa
import pytest
import typer
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from typer.testing import CliRunner

from roadloop_local.addresses import Stack
from roadloop_local.ports import choose_ports
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.offset_reader import RecordsLost, open_tail
from roadloop_runtime.kafka.reader import read_end_offsets
from roadloop_runtime.outcome import Emit
from roadloop_runtime.records import Event
from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.policies import ScreenPolicy
from screen.commands import register
from screen.handle import Observation, decide
from screen.history import maintenance, table
from screen.history.maintenance import tidy
from screen.history.rows import DECIDED_FROM, SCHEMA, facts_of_row, row_of
from screen.history.sink import rows_of
from screen.history.table import History, Overtaken, Place
from screen.memory import entries
from screen.memory.snapshots import MemoryTopic
from screen.memory.state import Memory
from screen.state_topics import policy_topic
from tests.builders import PAIR, make_frame, make_judged, read_back, receive_unit
from tests.waiting import GUARD_S, eventually

pytestmark = pytest.mark.integration
NOW = datetime.now(UTC)  # a snapshot's own clock is the machine's
POLICY = ScreenPolicy(
    version=1, threshold=0.5, controlled=True, audit_share=0.05, duplicate_distance=4, duplicate_step=0.6
)


@pytest.fixture
def place(stack: Stack) -> Place:
    """Return a history of its own: another warehouse, and another schema for its catalogue."""
    schema = f"h{uuid.uuid4().hex[:10]}"
    options = f"?options=-csearch_path%3D{schema}"
    access_key, secret_key = stack.s3_keys("screen-history")
    endpoint = stack.s3_endpoint
    asyncio.run(_make_schema(stack.postgres_dsn("screen"), stack.postgres_dsn(), schema))
    return Place(stack.postgres_dsn("screen") + options, f"s3://history/{schema}", endpoint, access_key, secret_key)


async def _make_schema(owner: str, admin_dsn: str, schema: str) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f"create schema {schema} authorization screen")
    finally:
        await connection.close()


def verdicts(tenant: str, frames: int, *, first: int = 0, memory: Memory | None = None) -> tuple[Memory, list[Event]]:
    """Screen so many frames and return what the worker would tell."""
    memory, told = memory or Memory(), list[Event]()
    for start in range(first, first + frames, 20):
        numbers = range(start, start + 20)
        looks = tuple(make_judged(n) for n in numbers)
        seen = Observation(receive_unit(*(make_frame(n, n * 2**40) for n in numbers), tenant=tenant), PAIR, looks)
        memory, outcome = decide(memory, seen, {tenant: POLICY}, salt=b"a salt of 16 or more")
        assert isinstance(outcome, Emit)
        told += outcome.events
    return memory, told


async def write(stack: Stack, events: list[Event]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap) as producer:
        for one in events:
            await producer.send(one.topic, one.value, key=one.key, partition=one.partition, headers=list(one.headers))
        await producer.flush()


@asynccontextmanager
async def sink(
    stack: Stack, place: Place, *, every_s: float = 0.5, tidy_every_s: float = 0.5, snapshot_after: int = 20_000
) -> AsyncIterator[asyncio.subprocess.Process]:
    variables = {
        "ROADLOOP_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "ROADLOOP_HEALTH_PORT": str(choose_ports(("health",), {})["health"]),
        "ROADLOOP_MEMBER": "history-0",
        "ROADLOOP_POSTGRES_DSN": place.dsn,
        "ROADLOOP_WAREHOUSE": place.warehouse,
        "ROADLOOP_S3_ENDPOINT": place.s3_endpoint,
        "ROADLOOP_S3_ACCESS_KEY": place.s3_access_key,
        "ROADLOOP_S3_SECRET_KEY": place.s3_secret_key,
        "ROADLOOP_APPEND_EVERY_S": str(every_s),
        "ROADLOOP_TIDY_EVERY_S": str(tidy_every_s),
        "ROADLOOP_SNAPSHOT_EVERY_S": "0.5",
        "ROADLOOP_SNAPSHOT_AFTER": str(snapshot_after),
    }
    run = [sys.executable, "-m", "screen.history"]
    process = await asyncio.create_subprocess_exec(*run, env={**os.environ, **variables})
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), GUARD_S)


def _files(place: Place) -> int:
    """Return how many files a history has."""
    store = open_store(place.s3_endpoint, place.s3_access_key, place.s3_secret_key)
    prefix = place.warehouse.removeprefix("s3://history/")
    return sum(1 for _ in store.client.list_objects("history", prefix, recursive=True))


async def _has_more_files(place: Place, files: int) -> bool:
    return await asyncio.to_thread(_files, place) > files


def counted(place: Place, tenant: str) -> Counter[str]:
    """Return how often each frame of a tenant is in history."""
    held = History(place)
    rows = (row for partition in held.list_partitions() for row in held.read_rows(partition, ("tenant", "frame_id")))
    return Counter(row["frame_id"] for row in rows if row["tenant"] == tenant)


async def test_each_verdict_is_there_once_though_its_writers_tidy_up_and_are_killed(stack: Stack, place: Place) -> None:
    await admin.ensure_topics(stack.kafka_bootstrap)
    tenant, memory, sent = f"t{uuid.uuid4().hex[:8]}", Memory(), 0
    await policy_topic.publish(stack.kafka_bootstrap, tenant, lambda _: POLICY)
    for files in (0, 1, 2, 5):
        memory, told = verdicts(tenant, 200, first=sent, memory=memory)
        before = await asyncio.to_thread(_files, place)
        async with sink(stack, place, every_s=0.2) as one, sink(stack, place, every_s=0.3) as other:
            await write(stack, told)
            sent += 200
            await eventually("so many files are written", partial(_has_more_files, place, before + files))
            one.kill()  # between a file and its commit, as it happens
            other.kill()

    async def is_whole() -> bool:
        return sum((await asyncio.to_thread(counted, place, tenant)).values()) >= sent

    async with sink(stack, place):
        await eventually("all is in history", is_whole)
    found = counted(place, tenant)
    assert len(found) == sent
    assert set(found.values()) == {1}
    assert History(place).read_policies()[tenant, 1].keep_budget == POLICY.keep_budget


async def test_many_may_open_a_history_at_once_that_is_not_there_yet(place: Place) -> None:
    opened = await asyncio.gather(*(asyncio.to_thread(History, place) for _ in range(6)))
    assert [history.read_offsets() for history in opened] == [{}] * 6


async def test_every_version_of_a_policy_is_there_also_those_that_came_and_went(stack: Stack, place: Place) -> None:
    await admin.ensure_topics(stack.kafka_bootstrap)
    tenant, budgets = f"t{uuid.uuid4().hex[:8]}", {1: 0.1, 2: 0.2, 3: 0.3}
    for budget in budgets.values():
        changed = POLICY.model_copy(update={"keep_budget": budget})
        await policy_topic.publish(stack.kafka_bootstrap, tenant, lambda _, changed=changed: changed)  # type: ignore[misc]

    async def has_all() -> bool:
        known = await asyncio.to_thread(lambda: History(place).read_policies())
        return {key[1]: policy.keep_budget for key, policy in known.items() if key[0] == tenant} == budgets

    async with sink(stack, place):
        await eventually("all versions are in history", has_all)


async def test_todays_verdicts_come_out_of_history_again_and_others_under_another_policy(
    stack: Stack, place: Place
) -> None:
    await admin.ensure_topics(stack.kafka_bootstrap)
    tenant = f"t{uuid.uuid4().hex[:8]}"
    await policy_topic.publish(stack.kafka_bootstrap, tenant, lambda _: POLICY)
    _, told = verdicts(tenant, 1_200)
    await write(stack, told)

    async def is_whole() -> bool:
        return len(await asyncio.to_thread(counted, place, tenant)) == 1_200

    async with sink(stack, place):
        await eventually("all is in history", is_whole)
    reach = {
        "ROADLOOP_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "ROADLOOP_POSTGRES_DSN": place.dsn,
        "ROADLOOP_WAREHOUSE": place.warehouse,
        "ROADLOOP_S3_ENDPOINT": place.s3_endpoint,
        "ROADLOOP_S3_ACCESS_KEY": place.s3_access_key,
        "ROADLOOP_S3_SECRET_KEY": place.s3_secret_key,
    }
    app = typer.Typer()
    register(app)
    ask = ("what-if", "--tenant", tenant, "--since", "100000d")
    same = await asyncio.to_thread(CliRunner(env=reach).invoke, app, [*ask, "--json"])
    assert same.exit_code == 0, same.output
    answer = json.loads(same.stdout)
    assert (answer["judged"], answer["differing"]) == (1_200, 0)
    less = await asyncio.to_thread(CliRunner(env=reach).invoke, app, [*ask, "--json", "--keep", "0.05"])
    slices = json.loads(less.stdout)["slices"]["rain/front"]
    assert slices["kept_then"] < slices["kept_now"]
    exactly = await asyncio.to_thread(CliRunner(env=reach).invoke, app, [*ask, "--exact", "--json"])
    assert exactly.exit_code == 0, exactly.output
    answer = json.loads(exactly.stdout)
    assert (answer["judged"], answer["differing"], answer["approximate"], answer["exact"]) == (1_200, 0, 0, True)
    less = await asyncio.to_thread(CliRunner(env=reach).invoke, app, [*ask, "--exact", "--json", "--keep", "0.05"])
    answer = json.loads(less.stdout)
    assert (answer["approximate"], answer["differing"] > 0) == (0, True)
    nobody = await asyncio.to_thread(CliRunner(env=reach).invoke, app, ["what-if", "--tenant", "nobody"])
    assert nobody.exit_code == 1
    assert "history has no verdict of tenant nobody" in nobody.output


async def test_who_was_overtaken_is_told_and_appends_nothing(place: Place) -> None:
    one, other = await asyncio.to_thread(History, place), await asyncio.to_thread(History, place)
    assert one.read_offsets() == other.read_offsets() == {}
    _, told = verdicts("acme", 20)
    rows = rows_of([read_back(event, offset=offset) for offset, event in enumerate(told)])
    one.append(rows, {5: 20})
    with pytest.raises(Overtaken):
        other.append(rows, {5: 20})
    assert other.read_offsets() == {5: 20}
    other.append(rows, {5: 40})
    with pytest.raises(Overtaken):
        one.append(rows, {5: 40})
    assert len(list(one.read_rows(5, ("frame_id",)))) == 40


async def test_records_that_expired_unread_are_counted_not_skipped(stack: Stack) -> None:
    topic = f"t.{uuid.uuid4().hex[:8]}.v1"
    client = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await client.start()
    try:
        await client.create_topics([NewTopic(topic, 1, 1)])
        await write(stack, [Event(topic, None, str(number).encode(), (), 0) for number in range(30)])
        async with open_tail(stack.kafka_bootstrap, topic, 1, "g") as tail:
            await tail.go_to({})
            first = await tail.batch(10, GUARD_S)
            assert [record.value for record in first] == [str(number).encode() for number in range(10)]
            await tail.tell({0: 10})
        await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=25)})
        async with open_tail(stack.kafka_bootstrap, topic, 1, "g") as tail:
            with pytest.raises(RecordsLost, match="15 records from 10 on expired before they were read"):
                await tail.go_to({0: 10})
            await tail.go_to({0: 10}, with_gaps=True)
            assert [record.offset for record in await tail.batch(5, GUARD_S)] == [25, 26, 27, 28, 29]
    finally:
        await client.close()


async def test_a_table_from_before_a_column_takes_it_and_its_old_rows_are_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, events = verdicts("acme", 40)
    rows = [row_of(read_back(one, offset=offset)) for offset, one in enumerate(events)]
    newer = {"versions", "shadow_version", "shadow_parts", "light_change", "dhash", "surely", "perhaps", "embedding"}
    before = pa.schema([field for field in SCHEMA if field.name not in newer])
    with monkeypatch.context() as patch:
        patch.setattr(table, "SCHEMA", before)
        History(place).append([{name: row[name] for name in before.names} for row in rows[:20]], {5: 20})
    History(place).append(rows[20:], {5: 40})
    found = list(History(place).read_rows(5, DECIDED_FROM))
    assert [row["frame_id"] for row in found] == [row["frame_id"] for row in rows]
    assert [row["versions"] for row in found] == [None] * 20 + [[3]] * 20
    versions = [facts.keys.versions for row in found if (facts := facts_of_row(row))]
    assert versions == [(0,)] * 20 + [(3,)] * 20, "all versions had one threshold then"


def one_row_each(count: int, *, first: int = 0, day: int = 0) -> list[dict[str, Any]]:
    """Return so many rows of partition 5, received some days later than the others."""
    _, events = verdicts("acme", max(20, count))
    records = [read_back(one, offset=first + n) for n, one in enumerate(events)]
    rows = [row_of(record) for record in records[:count]]
    return [{**row, "received_at": row["received_at"] + timedelta(days=day)} for row in rows]


def read_offsets(history: History) -> list[int]:
    return [row["offset"] for row in history.read_rows(5, ("frame_id",))]


def test_rows_of_two_days_that_came_in_turns_are_read_by_their_offsets(place: Place) -> None:
    history = History(place)
    today, yesterday = one_row_each(4), one_row_each(4, day=-1)
    history.append([today[0], yesterday[1], today[2], yesterday[3]], {5: 4})
    assert read_offsets(history) == [0, 1, 2, 3]


def test_a_file_of_more_rows_than_are_made_at_once_is_read_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(place)
    history.append(one_row_each(10), {5: 10})
    monkeypatch.setattr(table, "ROWS_AT_ONCE", 4)
    assert read_offsets(history) == list(range(10))


def test_small_files_become_one_and_nothing_of_them_is_lost(place: Place) -> None:
    history, rows = History(place), one_row_each(30)
    for row in rows:
        history.append([row], {5: row["offset"] + 1})
    assert len(history.list_files(5)[0]) == 30
    began_before = history.read_rows(5, ("frame_id",))
    next(began_before)
    tidy(history, NOW)
    assert len(history.list_files(5)[0]) == 1
    again = History(place)
    assert again.read_offsets() == {5: 30}
    assert read_offsets(again) == list(range(30))
    assert [row["offset"] for row in began_before] == list(range(1, 30)), "a reader goes on with what it began with"

    again.append(one_row_each(2, first=30), {5: 32})
    with pytest.raises(Overtaken):
        history.append(one_row_each(1, first=30), {5: 31})  # a sink that does not know of it
    assert len(history.list_files(5)[0]) == 2, "now it has seen the newer snapshot, and still has not read its offsets"
    with pytest.raises(Overtaken):
        history.append(one_row_each(1, first=30), {5: 31})
    tidy(again, NOW)
    assert read_offsets(again) == list(range(32)), "too few to be worth it"


def test_old_snapshots_are_forgotten_with_the_files_that_only_they_needed(place: Place) -> None:
    history = History(place)
    for row in one_row_each(12):
        history.append([row], {5: row["offset"] + 1})
    old = {task.file.file_path for task in history.list_files(5)[0]}
    assert old == exist(history, old)
    tidy(history, NOW)
    assert old == exist(history, old), "they stay for a day"
    tidy(history, NOW + timedelta(days=2))
    assert exist(history, old) == set()
    assert len(list(history.verdicts.snapshots())) == 1
    mine = {task.file.file_path for task in history.list_files(5)[0]}
    assert mine == exist(history, mine)
    assert (history.read_offsets(), read_offsets(history)) == ({5: 12}, list(range(12)))
    history.append(one_row_each(1, first=12), {5: 13})
    assert read_offsets(History(place)) == list(range(13))


def test_a_snapshot_that_was_replaced_a_moment_ago_stays_however_old_it_is(place: Place) -> None:
    history = History(place)
    for row in one_row_each(10):
        history.append([row], {5: row["offset"] + 1})
    much_later = NOW + timedelta(days=30)
    reader = history.read_rows(5, ("frame_id",))
    next(reader)
    maintenance.tidy(history, NOW)  # replaces what is read, which is old by the clock of the next one
    newest = history.verdicts.metadata.current_snapshot_id
    snapshots = sorted(history.verdicts.snapshots(), key=lambda one: one.sequence_number or 0)
    replaced = snapshots[-3]  # the last append; an overwrite is a deletion and an append
    assert [one.snapshot_id for one in snapshots][-1] == newest
    before_it = datetime.fromtimestamp(snapshots[-2].timestamp_ms / 1000, UTC)
    maintenance.tidy(history, before_it + maintenance.SNAPSHOTS_STAY)
    assert replaced.snapshot_id in {one.snapshot_id for one in history.verdicts.snapshots()}
    assert [row["offset"] for row in reader] == list(range(1, 10))
    maintenance.tidy(history, much_later)
    assert [one.snapshot_id for one in history.verdicts.snapshots()] == [newest]


def test_policies_become_one_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "FEW_POLICY_FILES", 5)
    history = History(place)
    for version in range(1, 7):
        history.add_policies({("acme", version): POLICY.model_copy(update={"version": version})})
    tidy(history, NOW)
    assert len(list(history.policy_rows.scan().plan_files())) == 1
    assert sorted(version for _, version in History(place).read_policies()) == [1, 2, 3, 4, 5, 6]


def exist(history: History, paths: set[str]) -> set[str]:
    return {path for path in paths if history.verdicts.io.new_input(path).exists()}


async def test_the_sink_takes_snapshots_of_memory_too(stack: Stack, place: Place) -> None:
    topic, partition = entries.TOPIC, 3
    store = open_store(stack.s3_endpoint, *stack.s3_keys("screen"))
    await write(stack, [Event(topic, b"stride:nobody/rain/front", None, (), partition)])
    end = (await read_end_offsets(stack.kafka_bootstrap, topic, partition + 1))[partition]

    async def is_taken() -> bool:
        found = await MemoryTopic(stack.kafka_bootstrap, store).newest(partition)
        return found is not None and found.head.offset >= end

    async with sink(stack, place, snapshot_after=1):
        await eventually("a snapshot up to the end", is_taken)
