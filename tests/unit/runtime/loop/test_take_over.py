"""A take-over skips nothing silently, and a partition task that never took over remembers nothing."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from roadloop_runtime import broker
from roadloop_runtime.broker import Fenced, OffsetRefused, OffsetsExpired
from roadloop_runtime.handler import Handler
from roadloop_runtime.loop.dead_letter_limit import DeadLetterLimit
from roadloop_runtime.loop.limits import Kept, Limits
from roadloop_runtime.loop.partition_task import PartitionTask
from roadloop_runtime.outcome import Emit
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Settled

LIMITS = Limits()


class Log:
    """A member whose partition begins at an offset."""

    group = "g"

    def __init__(self, start: int, committed: int | None = None) -> None:
        self._log, self._committed = broker.Log("1", start, 100), committed
        self.sought: list[int] = []

    def pause(self, _partitions: Any) -> None:
        return

    def resume(self, _partitions: Any) -> None:
        return

    def seek(self, _partition: Partition, offset: int) -> None:
        self.sought.append(offset)

    async def log_of(self, _partition: Partition) -> broker.Log:
        return self._log

    async def committed(self, _partition: Partition) -> int | None:
        return self._committed


class SettledTo:
    """A settlement that stopped at an offset."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    async def take_over(self, _partition: Partition) -> Settled:
        return Settled(self._offset)

    async def abandon(self, _partition: Partition) -> None:
        return


async def rebuild(_partition: int) -> str:
    return "rebuilt"


def partition_task(
    log: Log,
    settled: int | None,
    group: asyncio.TaskGroup,
    kept: Kept | None = None,
    is_new: Callable[[Any], bool] = lambda _: True,
) -> PartitionTask:
    handler: Handler[Any, Any, Any, Any] = Handler(
        decode=lambda r: r, decide=lambda m, _s, _p: (m, Emit()), rebuild=rebuild, is_new=is_new
    )
    return PartitionTask(
        Partition("t", 0),
        handler,
        kafka=log,  # type: ignore[arg-type]
        settlement=SettledTo(settled),  # type: ignore[arg-type]
        limits=LIMITS,
        semaphore=asyncio.Semaphore(1),
        dead_letter_limit=DeadLetterLimit(),
        group=group,
        kept=kept,
    )


async def test_records_that_expired_unread_end_the_lane_with_their_count() -> None:
    async with asyncio.TaskGroup() as group:
        with pytest.raises(OffsetsExpired, match=r"4 records expired unread \(5 to 8\)"):
            await partition_task(Log(9), 5, group).run()


@pytest.mark.parametrize(
    ("settled", "kept", "sought", "remembered"),
    [
        pytest.param(None, None, 3, "rebuilt", id="where-nothing-was-settled-it-begins-at-the-start"),
        pytest.param(7, None, 7, "rebuilt", id="else-where-the-last-settle-ended"),
        pytest.param(7, Kept(7, "kept"), 7, "kept", id="a-returning-owner-remembers"),
        pytest.param(8, Kept(7, "kept"), 8, "rebuilt", id="but-not-what-another-has-changed-since"),
    ],
)
async def test_a_take_over(settled: int | None, kept: Kept | None, sought: int, remembered: str) -> None:
    log = Log(3)
    async with asyncio.TaskGroup() as group:
        one = partition_task(log, settled, group, kept)
        assert one.keep() is None, "nothing was taken over: no memory is not an empty one"
        one.drain()
        await one.run()
    assert (log.sought, one.keep()) == ([sought], Kept(settled, remembered))


@pytest.mark.parametrize(
    ("committed", "error", "sentence"),
    [
        pytest.param(None, OffsetRefused, "remembers what it read of t/0, but has no offset", id="gone-for-everybody"),
        pytest.param(9, Fenced, "another owner has settled since", id="of-another-owner-while-this-one-was-frozen"),
    ],
)
async def test_a_memory_without_an_offset_is_not_read_on_from(
    committed: int | None, error: type[Exception], sentence: str
) -> None:
    async with asyncio.TaskGroup() as group:
        task = partition_task(Log(0, committed=committed), None, group, is_new=lambda _: False)
        with pytest.raises(error, match=sentence):
            await task.run()
