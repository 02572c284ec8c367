"""Read Kafka, Postgres and S3 with plain clients. Downstream first: the cause of what was read is read later."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
import urllib3
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from minio import Minio
from minio.error import MinioException, S3Error

from roadloop_audit.facts import Event, Facts, Frame, Label, Lag, Run, Stored, Task, Topic, Upload

TIMEOUT_S = 60.0
OBJECTS_AT_ONCE = 16
EARLY = 0.9  # what is gone before nine tenths of its retention was deleted by somebody
GROUPS = ("ingest", "ingest-fates", "label-router", "screen", "trainer-trigger")
REPLAYED = "__dlq.replayed.from"
OTHERS = ("trainings.changed.v1", "models.released.v1", "models.serving.v1", "uploads.fate.v1", "uploads.completed.v1")

FRAMES = "select frame_id, unit_id, fate, extract(epoch from received_at)::float8 from frames"
UPLOADS = """
select u.tenant, u.upload_id, u.announced, u.admitted_at is not null,
       (select count(*) from files f where (f.tenant, f.upload_id) = (u.tenant, u.upload_id)),
       (select count(*) from files f where (f.tenant, f.upload_id) = (u.tenant, u.upload_id) and f.fate = 'accepted'),
       (select count(*) from frames r where (r.tenant, r.upload_id) = (u.tenant, u.upload_id))
from uploads u
"""
TASKS = """
select t.task_id, t.verdict->>'frame_id', t.state,
       (select count(*) from labels l where l.task_id = t.task_id), extract(epoch from t.requested_at)::float8
from tasks t
"""
LABELS = "select task_id, label_version, extract(epoch from completed_at)::float8 from labels"
STORED = "select frame_id, label_version from labels"
RUNS = "select run_id, model, dataset_id from runs where kind = 'training'"


@dataclass(frozen=True)
class Places:
    """Where a system is, and with which keys an auditor reads it."""

    bootstrap: str
    ingest_dsn: str
    labels_dsn: str
    training_dsn: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str


async def read_facts(places: Places, *, objects: bool) -> Facts:
    """Read everything once."""
    read_at = time.time()
    stored = [Stored(*row) for row in await _fetch_rows(places.training_dsn, STORED)]
    runs = [Run(*row) for row in await _fetch_rows(places.training_dsn, RUNS)]
    async with _Reader(places.bootstrap) as kafka:
        completed = await kafka.read_topic("labels.completed.v1")
        labels = [Label(*row) for row in await _fetch_rows(places.labels_dsn, LABELS)]
        tasks = [Task(*row) for row in await _fetch_rows(places.labels_dsn, TASKS)]
        requested = await kafka.read_topic("labels.requested.v1")
        screened = await kafka.read_topic("frames.screened.v1")
        dead_units = await kafka.read_topic("dlq.screen.frames.ingested.v1")
        ingested = await kafka.read_topic("frames.ingested.v1")
        others = [await kafka.read_topic(name) for name in OTHERS]
        lags = await kafka.read_lags(GROUPS)
    frames = [Frame(*row) for row in await _fetch_rows(places.ingest_dsn, FRAMES)]
    uploads = [Upload(*row) for row in await _fetch_rows(places.ingest_dsn, UPLOADS)]
    missing = await _find_missing_objects(places, ingested) if objects else {}
    return Facts(
        read_at, stored, runs, completed, labels, tasks, requested, screened, dead_units, ingested, frames, uploads,
        others, missing, lags,
    )  # fmt: skip


async def _fetch_rows(dsn: str, query: str) -> Sequence[Any]:
    connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S)
    try:
        async with connection.transaction(readonly=True):
            return list(await connection.fetch(query))
    finally:
        await connection.close(timeout=2)


class _Reader:
    """A read_committed consumer without a group, and an admin client."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_max_wait_ms=50,
        )
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> "_Reader":
        async with asyncio.timeout(TIMEOUT_S):
            await self._consumer.start()
            await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def read_topic(self, name: str) -> Topic:
        """Read what is left of a topic. Raises LookupError where it is not there."""
        numbers = await self._read_partitions(name)
        tps = [TopicPartition(name, number) for number in sorted(numbers)]
        async with asyncio.timeout(TIMEOUT_S):
            starts = await self._consumer.beginning_offsets(tps)
            ends = await self._consumer.end_offsets(tps)
        records = await self._read(starts, ends)
        retention_s = await self._read_retention_s(name)
        whole_since = time.time() - retention_s if retention_s is not None else 0.0
        gaps = [gap for tp in tps if (gap := _find_early_gap(tp, starts[tp], records, retention_s))]
        return Topic(name, records, whole_since, gaps)

    async def _read_partitions(self, name: str) -> set[int]:
        (description,) = await self._admin.describe_topics([name])
        if description["error_code"]:
            raise LookupError(f"topic {name} is not there: is this a Roadloop system? `roadloop topics create`")
        return {partition["partition"] for partition in description["partitions"]}

    async def _read(self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> list[Event]:
        """Read all partitions together, in the order of their offsets each."""
        self._consumer.assign(list(ends))
        for tp, start in starts.items():
            self._consumer.seek(tp, start)
        events: list[Event] = []
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(TIMEOUT_S) as silence:  # a long topic may take long, as long as records come
            while unread_tps := [tp for tp, end in ends.items() if await self._consumer.position(tp) < end]:
                for records in (await self._consumer.getmany(*unread_tps, timeout_ms=200)).values():
                    events.extend(map(_to_event, records))
                    silence.reschedule(clock() + TIMEOUT_S)
        return events

    async def _read_retention_s(self, name: str) -> float | None:
        """Return how long a topic's records are kept, None for ever."""
        (answer,) = await self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        settings = {entry[0]: entry[1] for resource in answer.resources for entry in resource[4]}
        if "compact" in settings.get("cleanup.policy", ""):
            return 0.0  # anything may be gone
        retention_ms = int(settings.get("retention.ms", -1))
        return retention_ms / 1000 if retention_ms >= 0 else None

    async def read_lags(self, groups: Sequence[str]) -> list[Lag]:
        """Compare what groups have committed with the ends of the logs."""
        lags: list[Lag] = []
        for group in groups:
            committed = {tp: meta.offset for tp, meta in (await self._admin.list_consumer_group_offsets(group)).items()}
            async with asyncio.timeout(TIMEOUT_S):
                ends = await self._consumer.end_offsets(list(committed)) if committed else {}
            lags += [Lag(group, tp.topic, tp.partition, ends[tp] - offset) for tp, offset in committed.items()]
        return lags


def _to_event(record: Any) -> Event:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    body: Any = {}
    with suppress(orjson.JSONDecodeError):
        body = orjson.loads(record.value or b"{}")
    return Event(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp / 1000,
        headers.get("ce_source", ""),
        headers.get("ce_id", f"{record.topic}/{record.partition}/{record.offset}"),
        headers.get("ce_tenant", ""),
        body if isinstance(body, dict) else {},
        REPLAYED in headers,
    )


def _find_early_gap(tp: TopicPartition, start: int, records: Sequence[Event], retention_s: float | None) -> str:
    """Say which offsets are gone that their retention would still keep."""
    if start == 0 or retention_s == 0.0:
        return ""
    first = min((event.at for event in records if event.partition == tp.partition), default=time.time())
    age_s = time.time() - first
    if retention_s is not None and age_s > EARLY * retention_s:
        return ""
    retention = "for ever" if retention_s is None else f"for {retention_s / 3600:.0f} h"
    lost = f"partition {tp.partition} lost offsets 0 to {start - 1}, kept {retention}"
    return f"{lost}; the next is {age_s / 3600:.1f} h old"


async def _find_missing_objects(places: Places, ingested: Topic) -> Mapping[str, str]:
    expected_sizes = {
        frame["object"]["uri"]: int(frame["object"]["size_bytes"])
        for unit in ingested.records
        for frame in unit.body.get("frames", ())
    }
    address = places.s3_endpoint.removeprefix("http://").removeprefix("https://")
    pool = urllib3.PoolManager(maxsize=OBJECTS_AT_ONCE, timeout=TIMEOUT_S, retries=3)
    client = Minio(
        endpoint=address,
        access_key=places.s3_access_key,
        secret_key=places.s3_secret_key,
        secure=places.s3_endpoint.startswith("https"),
        http_client=pool,
    )
    semaphore = asyncio.Semaphore(OBJECTS_AT_ONCE)

    async def look(uri: str, size: int) -> tuple[str, str]:
        async with semaphore:
            return uri, await asyncio.to_thread(_explain_missing, client, uri, size)

    listed_sizes = await asyncio.to_thread(_list_sizes, client, {_split(uri)[0] for uri in expected_sizes})
    unlisted_sizes = {uri: size for uri, size in expected_sizes.items() if listed_sizes.get(uri) != size}
    answers = await asyncio.gather(*(look(uri, size) for uri, size in unlisted_sizes.items()))
    pool.clear()
    return {uri: reason for uri, reason in answers if reason}


def _list_sizes(client: Minio, buckets: Iterable[str]) -> dict[str, int]:
    """Return the size of every object in some buckets, a thousand a request; none where they may not be listed."""
    try:
        return {
            f"s3://{bucket}/{item.object_name}": int(item.size or 0)
            for bucket in buckets
            for item in client.list_objects(bucket_name=bucket, recursive=True)
        }
    except (MinioException, urllib3.exceptions.HTTPError):
        return {}  # each is asked for by itself then, which says what is wrong


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix("s3://").partition("/")
    return bucket, name


def _explain_missing(client: Minio, uri: str, size: int) -> str:
    bucket, name = _split(uri)
    try:
        size_found = client.stat_object(bucket_name=bucket, object_name=name).size
    except S3Error as error:
        return f"S3 says {error.code}"
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        return f"S3 does not answer: {type(error).__name__}"
    return "" if size_found == size else f"it has {size_found} bytes, its frame says {size}"
