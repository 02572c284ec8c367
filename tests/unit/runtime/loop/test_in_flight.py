"""Backpressure: a partition task never has more records in flight than its limit, however fast the broker is."""

import asyncio
from typing import Any

import pytest

from roadloop_runtime.handler import Handler
from roadloop_runtime.loop.dead_letter_limit import DeadLetterLimit
from roadloop_runtime.loop.limits import Limits
from roadloop_runtime.loop.loop import limit_poll
from roadloop_runtime.loop.partition_task import PartitionTask
from roadloop_runtime.outcome import Emit
from roadloop_runtime.records import Partition, Record
from tests.builders import make_record


def partition_task(limits: Limits, group: asyncio.TaskGroup, handler: Handler[Any, Any, Any, Any]) -> PartitionTask:
    made = PartitionTask(
        Partition("t", 0),
        handler,
        kafka=None,
        settlement=None,
        limits=limits,
        semaphore=asyncio.Semaphore(limits.observing),
        dead_letter_limit=DeadLetterLimit(),
        group=group,
        kept=None,
    )  # nothing here speaks to a broker
    made.open = True
    return made


@pytest.mark.parametrize("in_flight", [1, 2, 7, 32])
async def test_polls_of_a_fast_broker_never_pass_the_limit(in_flight: int) -> None:
    stuck = asyncio.Event()

    async def observe(record: Record) -> Record:
        await stuck.wait()
        return record

    async def rebuild(_: int) -> None:
        return None

    handler = Handler(decode=lambda r: r, observe=observe, decide=lambda m, _s, _p: (m, Emit()), rebuild=rebuild)
    async with asyncio.TaskGroup() as group:
        one = partition_task(Limits(in_flight=in_flight), group, handler)
        offset = 0
        for _ in range(20):
            for _ in range(limit_poll([one]) if one.room else 0):
                one.feed([make_record(offset=offset)])
                offset += 1
            assert one.in_flight <= in_flight
        assert offset == in_flight, "and it is used up"
        stuck.set()
