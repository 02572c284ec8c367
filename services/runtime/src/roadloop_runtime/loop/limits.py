"""What a partition task holds: its bounds, the records that wait, and what a former owner remembers."""

import asyncio
from dataclasses import dataclass
from typing import Any

from roadloop_runtime.outcome import DeadLetter
from roadloop_runtime.records import Record


@dataclass(frozen=True)
class Limits:
    """Bounds of one worker. Records in flight per partition, observations at once, records per settle.

    `in_flight` bounds what is observed, decided or being settled. A handler without observations holds at most two
    batches instead.
    """

    in_flight: int = 2_000
    observing: int = 16
    batch: int = 1_000
    settle_interval_s: float = 0.05
    idle_s: float = 0.5
    drain_s: float = 5.0


@dataclass(slots=True)
class Pending:
    """A record that waits for its turn. Without `task` and `dead_letter` it is decoded when its turn comes."""

    record: Record
    since: float
    task: asyncio.Task[Any] | None = None
    dead_letter: DeadLetter | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a former owner remembers: good only if the offset after the fence is the one it settled last."""

    offset: int | None
    memory: Any
