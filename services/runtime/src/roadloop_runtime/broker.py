"""What the runtime asks of Kafka, in some fifteen functions, and the errors it may answer with.

Two things give these answers: `roadloop_runtime.kafka`, over a real client, and the simulated broker of the tests.
One contract suite runs over both. Every await has a limit; errors come out as three kinds: `Fenced` (another owner is
there: end), `Aborted` (take the partition over again) and what the client raised (end).
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from roadloop_runtime.records import Event, Partition, Record

Rebalanced = Callable[[frozenset[Partition]], Awaitable[None]]
Take = Callable[[Record], Awaitable[None]]


class Fenced(Exception):
    """Another owner has taken this partition over. Nothing more may be written by this process."""


class Aborted(Exception):
    """The batch did not become durable, as far as is known. Take the partition over again, memory included."""


class OffsetRefused(Exception):
    """An offset does not fit its log: to read on would lose or double records. The text says which, and what to do."""


class OffsetsExpired(OffsetRefused):
    """Records between the committed offset and the log's start were deleted before they were read."""


class TopicMissing(Exception):
    """A topic is not there, or has another partition count than its file says."""


class Log(NamedTuple):
    """A partition's log. A topic that was deleted and made again has another id: its offsets are of another log.

    `start` is its first offset; `end` is behind the last one that a read_committed reader sees.
    """

    topic_id: str
    start: int
    end: int


class Writer(Protocol):
    """A transactional producer. Whoever opened an id's writer last has fenced all before."""

    async def transact(self, events: Sequence[Event], offsets: Mapping[Partition, int], group: str) -> None:
        """Write events, in order per partition, and a group's offsets at once or not at all. Fenced or Aborted."""

    async def close(self) -> None:
        """Let go, whatever state it is in. An open transaction is aborted by the next writer of the id."""


class Broker(Protocol):
    """Kafka for what needs no group."""

    async def fence(self, transactional_id: str) -> Writer:
        """Open the writer of an id. Waits until a half-finished commit of the owner before is complete."""

    async def read(self, partition: Partition) -> Sequence[Record]:
        """Return all committed records of a partition, from its start to its end as of now."""

    async def write(self, event: Event) -> None:
        """Write one record outside of any transaction; returns once it is durable."""

    async def follow(self, topic: str, take: Take) -> None:
        """Hand over the newest record per key of a topic with one partition, then what comes, until cancelled."""


class Member(Protocol):
    """One member of one consumer group, read_committed, with a member id that outlives restarts."""

    @property
    def group(self) -> str: ...
    @property
    def broker(self) -> Broker: ...

    async def join(self, topics: Collection[str], revoked: Rebalanced, assigned: Rebalanced) -> None:
        """Join the group. The callbacks run inside a rebalance: what they raise would only be logged."""

    async def leave(self) -> None:
        """Close; the member keeps its place for the session timeout."""

    async def poll(
        self, partitions: Iterable[Partition], max_records: int, timeout_s: float
    ) -> Mapping[Partition, Sequence[Record]]:
        """Return the next records of some partitions. To poll none says to the group that this member is alive.

        Raises OffsetsExpired where the next offset is below the log's start: nothing is skipped silently.
        """

    def pause(self, partitions: Iterable[Partition]) -> None: ...
    def resume(self, partitions: Iterable[Partition]) -> None: ...
    def seek(self, partition: Partition, offset: int) -> None: ...

    async def position(self, partition: Partition) -> int:
        """Return the offset behind what was polled last, transaction markers included."""

    async def log_of(self, partition: Partition) -> Log:
        """Return the log that a partition has now."""

    async def committed(self, partition: Partition) -> int | None:
        """Return the group's committed offset, asked from the coordinator now."""

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit offsets outside of a transaction: a copy for lag tools, never read back."""
