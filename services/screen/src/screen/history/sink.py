"""The sink: every verdict, and every version of a policy, once into history; snapshots of memory beside it.

Run as `python -m screen.history`. Truth about where it stands is in the table's newest snapshot; Kafka's copy is for
`roadloop lag`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import Field, ValidationError
from pyiceberg.exceptions import CommitStateUnknownException

from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.offset_reader import Tail, open_tail
from roadloop_runtime.kafka.reader import follow_topic
from roadloop_runtime.loop.identity import Identity
from roadloop_runtime.records import Record
from roadloop_runtime.service import lifecycle
from roadloop_runtime.service.health import make_health_app, serve_http
from roadloop_runtime.service.settings import DatabaseSettings
from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.policies import ScreenPolicy
from roadloop_schemas.topics import FRAMES_SCREENED
from screen.history.maintenance import tidy
from screen.history.rows import row_of
from screen.history.table import History, Overtaken, Place
from screen.memory import entries
from screen.memory.snapshots import MemoryTopic, Snapshots
from screen.state_topics import policy_topic
from screen.state_topics.skip_unreadable import skip_unreadable

log = structlog.get_logger()
SOURCE, GROUP = FRAMES_SCREENED, "screen-history"
SOON_S = 300.0


class HistorySettings(DatabaseSettings):
    """Of the sink. A file is written every `append_every_s`, or as soon as there are `append_rows`.

    Every `tidy_every_s` small files are merged and old snapshots forgotten. With `accept_gaps` it goes on where records
    expired before it read them; else it stops and says how many. Memory has a new snapshot once its topic has
    `snapshot_after` more entries; that is looked at every `snapshot_every_s`.
    """

    warehouse: str = Field(pattern=r"^s3://[^/]+")
    append_every_s: float = Field(default=60.0, gt=0)
    append_rows: int = Field(default=20_000, ge=1)
    tidy_every_s: float = Field(default=24 * 3600.0, gt=0)
    accept_gaps: bool = False
    snapshot_every_s: float = Field(default=60.0, gt=0)
    snapshot_after: int = Field(default=20_000, ge=1)

    @property
    def snapshots(self) -> Snapshots:
        store = open_store(self.s3_endpoint, self.s3_access_key, self.s3_secret_key.get_secret_value())
        return Snapshots(MemoryTopic(self.kafka_bootstrap, store), self.snapshot_after)

    @property
    def place(self) -> Place:
        return Place(
            self.postgres_dsn.get_secret_value(),
            self.warehouse,
            self.s3_endpoint,
            self.s3_access_key,
            self.s3_secret_key.get_secret_value(),
        )


class PolicyVersions:
    """Every version of a policy that the topic still has, by tenant and version: it keeps only the newest for long."""

    def __init__(self) -> None:
        self.policies: dict[tuple[str, int], ScreenPolicy] = {}

    async def take(self, record: Record) -> None:
        policy = ScreenPolicy.model_validate_json(record.value or b"{}")
        self.policies[(record.key or b"").decode(), policy.version] = policy


async def keep(tail: Tail, history: History, policy_versions: PolicyVersions, settings: HistorySettings) -> None:
    """Append what comes, until cancelled; where somebody else did meanwhile, go on from where he is."""
    offsets = await asyncio.to_thread(history.read_offsets)
    await tail.go_to(offsets, with_gaps=settings.accept_gaps)
    clock = asyncio.get_running_loop().time
    tidy_at = clock() + min(SOON_S, settings.tidy_every_s)
    while True:
        records = await tail.batch(settings.append_rows, settings.append_every_s)
        next_offsets = {**offsets, **{record.partition: record.offset + 1 for record in records}}
        try:
            await asyncio.to_thread(history.add_policies, dict(policy_versions.policies))
            if records:
                await asyncio.to_thread(history.append, rows_of(records), next_offsets)
            if clock() >= tidy_at:
                tidy_at = clock() + min(SOON_S, settings.tidy_every_s)  # where somebody else writes meanwhile
                await asyncio.to_thread(_tidy_apart, settings.place)
                tidy_at = clock() + settings.tidy_every_s
        except (Overtaken, CommitStateUnknownException) as error:
            log.warning("history_read_anew", why=str(error))
            offsets = await asyncio.to_thread(history.read_offsets)
            await tail.go_to(offsets, with_gaps=settings.accept_gaps)
        else:
            offsets = next_offsets
            await tail.tell(offsets)


def _tidy_apart(place: Place) -> None:
    """Tidy up by tables of its own: the sink's stay where its offsets are."""
    tidy(History(place), datetime.now(UTC))


def rows_of(records: Sequence[Record]) -> list[Mapping[str, Any]]:
    """Return the rows of records, but for what is no verdict: the loops' dead letters hold it."""
    rows: list[Mapping[str, Any]] = []
    for record in records:
        try:
            rows.append(row_of(record))
        except ValidationError as error:
            log.warning("not_readable", topic=record.topic, partition=record.partition, offset=record.offset, why=error)
    return rows


async def main(settings: HistorySettings, _me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop."""
    kafka = settings.kafka_bootstrap
    await admin.check_topics_of_service(kafka, (SOURCE, policy_topic.TOPIC, entries.TOPIC))
    history = await asyncio.to_thread(History, settings.place)
    policy_versions, partitions = PolicyVersions(), await admin.read_partition_counts(kafka)

    async def keep_on() -> None:
        async with open_tail(kafka, SOURCE, partitions[SOURCE], GROUP) as tail:
            await keep(tail, history, policy_versions, settings)

    await lifecycle.run_side_by_side(
        stopping,
        [],
        [
            follow_topic(
                kafka, policy_topic.TOPIC, partitions[policy_topic.TOPIC], skip_unreadable(policy_versions.take)
            ),
            keep_on(),
            settings.snapshots.keep(partitions[entries.TOPIC], settings.snapshot_every_s),
            serve_http(make_health_app([], {}, stopping), settings.health_host, settings.health_port, stopping),
        ],
    )
