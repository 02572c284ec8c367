"""Does an offset fit the log that its partition has now? Pure. What does not is refused, with what to do about it."""

from roadloop_runtime.broker import Log, OffsetRefused, OffsetsExpired
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Settled


def check_memory(group: str, partition: Partition, settled: Settled, *, is_new: bool) -> None:
    """Raise OffsetRefused where a group remembers what it read, but no longer how far: all would be decided twice."""
    if settled.next_offset is not None or is_new:
        return
    place, command = f"{partition.topic}/{partition.partition}", f"roadloop offsets reset {group} {partition.topic}"
    raise OffsetRefused(
        f"{group} remembers what it read of {place}, but has no offset: its offsets were deleted, or expired before "
        f"their topic. To go on with what comes: {command} --to end; to decide all of it again: {command} --to start"
    )


def check_offset(group: str, partition: Partition, settled: Settled, log: Log) -> None:
    """Raise OffsetRefused where reading on from where a group has settled to would lose or double records.

    A group that has settled nothing fits every log. An offset from before ids were kept is held against the log's ends.
    """
    offset, topic_id = settled
    if offset is None:
        return
    place, command = f"{partition.topic}/{partition.partition}", f"roadloop offsets reset {group} {partition.topic}"
    if topic_id and topic_id != log.topic_id:
        raise OffsetRefused(
            f"{group} has read {place} to {offset}, but of another log: the topic was deleted and made again "
            f"(id {topic_id}, now {log.topic_id}). What was in the old one and not read is lost; the new one has "
            f"offsets {log.start} to {log.end}. To read it from its start: {command} --to start"
        )
    if offset < log.start:
        raise OffsetsExpired(
            f"{place}: {log.start - offset} records expired unread ({offset} to {log.start - 1}): {group} was away for "
            f"longer than they are kept. They are lost; to go on behind them: roadloop offsets accept-gap {group} "
            f"{partition.topic}"
        )
    if offset > log.end:
        raise OffsetRefused(
            f"{group} has read {place} to {offset}, but its log ends at {log.end}: the brokers lost "
            f"{offset - log.end} records that were there. To go on with what comes: {command} --to end"
        )
