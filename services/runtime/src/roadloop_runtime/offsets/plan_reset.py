"""What it costs to move a group's offset: said before it is done. Pure."""

from dataclasses import dataclass
from typing import Literal

from roadloop_runtime.broker import Log
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Settled

Target = Literal["start", "end"] | int


class NoSuchOffset(Exception):
    """A target lies outside of the log; the text says where it begins and ends."""


@dataclass(frozen=True, slots=True)
class Reset:
    """A new offset for a partition. Of the log that is there, `read_again` and `lost` count offsets, markers included.

    `other_log`: the offset of before was of a log that is no more, so what was lost of that is not known.
    """

    partition: Partition
    old: Settled
    new: Settled
    read_again: int
    lost: int
    other_log: bool

    def __str__(self) -> str:
        place = f"{self.partition.topic}/{self.partition.partition}"
        moved = f"{place}: {'nothing settled' if self.old.next_offset is None else self.old.next_offset}"
        costs = [f"{self.read_again} are read again, and what follows from them is decided again"] * bool(
            self.read_again
        )
        costs += [f"{self.lost} are never read"] * bool(self.lost)
        costs += ["what was unread in the log of before is lost"] * self.other_log
        return f"{moved} -> {self.new.next_offset}: {'; '.join(costs) or 'nothing is read again, nothing is lost'}"


def plan_reset(partition: Partition, settled: Settled, log: Log, target: Target) -> Reset:
    """Return what moving an offset to the start or the end of its log, or to an offset in it, comes to."""
    offset = log.start if target == "start" else log.end if target == "end" else target
    if not log.start <= offset <= log.end:
        place = f"{partition.topic}/{partition.partition}"
        raise NoSuchOffset(f"{place} has offsets {log.start} to {log.end}, not {offset}: say one of those")
    other_log = bool(settled.topic_id) and settled.topic_id != log.topic_id
    before = log.start if settled.next_offset is None or other_log else settled.next_offset
    return Reset(
        partition,
        settled,
        Settled(offset, log.topic_id),
        read_again=max(0, min(before, log.end) - offset),
        lost=max(0, offset - before),
        other_log=other_log,
    )


def plan_gap(partition: Partition, settled: Settled, log: Log) -> Reset | None:
    """Return how to go on behind records that expired unread; None where there is no such gap."""
    is_of_this_log = not settled.topic_id or settled.topic_id == log.topic_id
    if settled.next_offset is None or not is_of_this_log or settled.next_offset >= log.start:
        return None
    return plan_reset(partition, settled, log, "start")
