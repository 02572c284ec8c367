"""Topics are created from their files, never by auto-creation; a changed partition count is refused."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from roadloop_runtime.broker import TopicMissing
from roadloop_runtime.kafka.reader import REQUEST_TIMEOUT_S
from roadloop_schemas.topics import DEAD_LETTER_RETENTION_HOURS, Topic, name_dead_letter_topic, read_topic_files

ALREADY_EXISTS = 36
PATIENCE_S = 5.0
MAX_INPUT_BYTES = 1024 * 1024
# The newest segment is never compacted, and by default has room for 1 GB: who takes a partition over reads all of it.
COMPACTED_SOON = {"segment.bytes": str(16 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.2"}
MAX_DEAD_LETTER_BYTES = 2 * 1024 * 1024


def build_topics(replication: int = 1) -> Mapping[str, NewTopic]:
    """Return every topic of the files, and the dead-letter topics of their groups."""
    new_topics: dict[str, NewTopic] = {}
    for topic in read_topic_files().values():
        new_topics[topic.name] = _build_topic(topic.name, topic.partitions, replication, _build_settings(topic))
        for group in topic.groups:
            name = name_dead_letter_topic(group, topic.name)
            new_topics[name] = _build_topic(name, topic.partitions, replication, _build_dead_letter_settings())
    return new_topics


def _build_topic(name: str, partitions: int, replication: int, settings: dict[str, str]) -> NewTopic:
    return NewTopic(name, partitions, replication, topic_configs=settings)


def _build_settings(topic: Topic) -> dict[str, str]:
    retention_ms = -1 if topic.retention_hours < 0 else topic.retention_hours * 3_600_000
    settings = {
        "cleanup.policy": topic.cleanup,
        "retention.ms": str(retention_ms),
        "max.message.bytes": str(MAX_INPUT_BYTES),
    }
    return settings | (COMPACTED_SOON if topic.cleanup == "compact" else {})


def _build_dead_letter_settings() -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(DEAD_LETTER_RETENTION_HOURS * 3_600_000),
        "max.message.bytes": str(MAX_DEAD_LETTER_BYTES),
    }


async def ensure_topics(bootstrap: str) -> None:
    """Create what is missing. Raises TopicMissing where a topic has another partition count than its file says."""
    await create_topics(bootstrap, build_topics().values())


@asynccontextmanager
async def open_admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open an admin client; close it also where no broker answers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await admin.start()
        yield admin
    finally:
        await admin.close()


async def read_cluster_id(bootstrap: str) -> str:
    """Return the id that a cluster was given when it was made."""
    async with open_admin(bootstrap) as admin, asyncio.timeout(REQUEST_TIMEOUT_S):
        return str((await admin.describe_cluster())["cluster_id"])


async def describe_topics(admin: AIOKafkaAdminClient) -> Mapping[str, int]:
    """Return the partition count of every topic there is."""
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        described = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


async def read_partition_counts(bootstrap: str) -> Mapping[str, int]:
    """Return the partition counts of all topics."""
    async with open_admin(bootstrap) as admin:
        return await describe_topics(admin)


async def create_topics(bootstrap: str, new_topics: Iterable[NewTopic]) -> None:
    """Create topics that are missing and check the others' partition counts."""
    new_topics = list(new_topics)
    async with open_admin(bootstrap) as admin, asyncio.timeout(REQUEST_TIMEOUT_S):
        answer = await admin.create_topics(new_topics)
    for name, code, message in answer.topic_errors:
        if code not in (0, ALREADY_EXISTS):
            raise TopicMissing(f"{name} could not be created: {message} (error {code}): see the broker's log")
    await check_topics(bootstrap, {topic.name: topic.num_partitions for topic in new_topics})


async def check_topics(bootstrap: str, partitions: Mapping[str, int]) -> None:
    """Raise TopicMissing unless every topic is there with its partition count."""
    async with open_admin(bootstrap) as admin, asyncio.timeout(REQUEST_TIMEOUT_S):
        counts = await _wait_for_topics(admin, partitions)
    for name, count in partitions.items():
        if name not in counts:
            raise TopicMissing(f"topic {name} is not there: run `roadloop topics create`")
        if counts[name] != count:
            raise TopicMissing(
                f"topic {name} has {counts[name]} partitions, its file says {count}: a partition count never changes, "
                "because keys would move; make a new topic version instead"
            )


async def _wait_for_topics(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    """Ask until all topics show up: fresh ones take a moment to be known everywhere."""
    expected = set(names)
    end = time.monotonic() + PATIENCE_S
    while True:
        described = await admin.describe_topics(sorted(expected))
        counts = {t["topic"]: len(t["partitions"]) for t in described if t["error_code"] == 0}
        if expected <= counts.keys() or time.monotonic() > end:
            return counts
        await asyncio.sleep(0.1)


async def check_topics_of_service(bootstrap: str, names: Iterable[str]) -> None:
    """Check the topics a service uses, at its start: a send to a missing topic would wait for ever."""
    new_topics = build_topics()
    await check_topics(bootstrap, {name: new_topics[name].num_partitions for name in names})
