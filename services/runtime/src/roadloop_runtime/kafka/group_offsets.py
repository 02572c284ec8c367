"""The logs of topics, and the offsets that groups keep in Kafka."""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, RebalanceInProgressError, UnknownMemberIdError

from roadloop_runtime.broker import Log
from roadloop_runtime.kafka.admin import describe_topics, open_admin
from roadloop_runtime.kafka.member import COPY
from roadloop_runtime.kafka.reader import REQUEST_TIMEOUT_S, open_reader
from roadloop_runtime.kafka.topic_ids import read_topic_ids
from roadloop_runtime.records import Partition


class GroupHasMembers(Exception):
    """Kafka moves no offset of a group that somebody is in."""


class OnlyCopies(Exception):
    """What a group has in Kafka is a copy for lag tools."""


async def read_logs(bootstrap: str, topics: Collection[str]) -> Mapping[Partition, Log]:
    """Return the log of every partition of some topics; those that are not there are left out."""
    async with open_admin(bootstrap) as admin, open_reader(bootstrap) as reader:
        counts, ids = await describe_topics(admin), await read_topic_ids(admin, topics)
        tps = [TopicPartition(topic, number) for topic in topics for number in range(counts.get(topic, 0))]
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            starts, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
    return {Partition(*tp): Log(str(ids[tp.topic]), starts[tp], ends[tp]) for tp in tps if tp.topic in ids}


async def read_group_offsets(bootstrap: str, group: str) -> Mapping[Partition, int]:
    """Return what a group keeps in Kafka. Raises OnlyCopies where that is a copy of what is kept in Postgres."""
    async with open_admin(bootstrap) as admin, asyncio.timeout(REQUEST_TIMEOUT_S):
        offsets = await admin.list_consumer_group_offsets(group)
    if any(kept.metadata == COPY for kept in offsets.values()):
        raise OnlyCopies(group)
    return {Partition(*tp): kept.offset for tp, kept in offsets.items() if kept.offset >= 0}


async def write_group_offsets(bootstrap: str, group: str, offsets: Mapping[Partition, int]) -> None:
    """Set a group's offsets. Raises GroupHasMembers: they would go on where they are."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await consumer.start()
        try:
            consumer.assign([TopicPartition(*partition) for partition in offsets])
            await consumer.commit({TopicPartition(*partition): offset for partition, offset in offsets.items()})
        except (CommitFailedError, UnknownMemberIdError, RebalanceInProgressError) as error:
            raise GroupHasMembers(group) from error
        finally:
            await consumer.stop()
