"""Settle: outcomes and the input offset become durable at once, or not at all."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from roadloop_runtime.records import Event, Partition


@dataclass(frozen=True, slots=True)
class Batch:
    """What was decided since the last settle. `old_offset` is None where nothing was ever settled.

    Its offsets are of the log of the topic with that id.
    """

    partition: Partition
    old_offset: int | None
    next_offset: int
    events: tuple[Event, ...] = ()
    changes: tuple[object, ...] = ()
    topic_id: str = ""


class Settled(NamedTuple):
    """Where a group has settled to: the next offset, None where nothing was ever settled, and the log that it is of.

    The id is "" where it is not known: Kafka forgets a group's offsets of a topic together with the topic.
    """

    next_offset: int | None
    topic_id: str = ""


class Settlement(Protocol):
    """Two real ones: Kafka to Kafka, and Kafka to Postgres."""

    async def take_over(self, partition: Partition) -> Settled:
        """Fence every older owner, then return where it has settled to."""

    async def settle(self, batch: Batch) -> None:
        """Make a batch durable. Raises Fenced or Aborted."""

    async def look_after(self, partition: Partition) -> None:
        """Renew what is only a copy, while the partition is idle."""

    async def abandon(self, partition: Partition) -> None:
        """Let go of a partition. Nothing is settled for it before the next take-over."""


class Owned(NamedTuple):
    """What a take-over gives: the epoch of the new owner, and where the one before has settled to."""

    epoch: int
    next_offset: int | None
    topic_id: str = ""


class Offsets(Protocol):
    """A table of offsets and epochs beside what is settled: Postgres, and a simulated one under one contract suite."""

    async def take_over(self, group: str, partition: Partition) -> Owned:
        """Begin a new epoch: every settle of an older one is refused from now on."""

    async def settle(self, group: str, epoch: int, batch: Batch) -> None:
        """Store changes, outbox rows and the offset at once or not at all. Raises Fenced or Aborted."""
