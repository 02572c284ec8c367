"""What is tried again, and how soon: to observe a record, and to take a partition over after an aborted batch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import stamina
import structlog

from roadloop_runtime.handler import Handler
from roadloop_runtime.loop.bad_records import blame_handler
from roadloop_runtime.outcome import DeadLetter, LoopReason, Transient
from roadloop_runtime.records import Record

log = structlog.get_logger()
FAILURES_WITH_PASSING_CANARY = 3
SETTLES_S = 15.0
SOON_S = 0.2  # its partition waits for it, at most a second in all
# A worker that was frozen learns from its next heartbeat that a partition has moved on. To take it over again sooner
# than that would fence its rightful owner. The longest pause is what a revoke has to wait for at most.
PAUSE_S, LONGEST_PAUSE_S = 0.7, 2.0


async def observe(
    handler: Handler[Any, Any, Any, Any], look: Callable[[Any], Awaitable[Any]], record: Record, body: Any
) -> Any:
    """Return what `look` saw, or a DeadLetter.

    A Transient is retried without end while its dependency's canary fails, and for 15 s more: an outage is not the
    record's fault, and what comes back answers before it works. Where the canary passes and this record still fails
    three times, the record is at fault.
    """
    failures = 0

    async def give_up_or_raise(error: Transient) -> DeadLetter:
        nonlocal failures
        outage = error.busy or not await _is_working(handler, error.dependency)
        failures += not outage
        if failures < FAILURES_WITH_PASSING_CANARY:
            raise _Retry(outage) from error
        return _blame_record(error)

    async def try_once() -> Any:
        try:
            return await look(body)
        except Transient as error:
            return await give_up_or_raise(error)

    try:
        try:
            return await try_once()
        except _Retry as first_failure:
            return await _retry(try_once, first_failure)
    except (Exception, asyncio.CancelledError) as error:
        if _is_cancelled_from_outside(error):
            raise
        log.exception("observe_failed", topic=record.topic, partition=record.partition, offset=record.offset)
        return blame_handler(error)


def retry_after_abort(aborted: type[Exception]) -> AsyncIterator[stamina.Attempt]:
    """Return attempts to live on a partition, with growing pauses for as long as batches are aborted."""
    return stamina.retry_context(
        on=aborted, attempts=None, timeout=None, wait_initial=PAUSE_S, wait_max=LONGEST_PAUSE_S
    ).__aiter__()


async def _retry(try_once: Callable[[], Awaitable[Any]], first_failure: Exception) -> Any:
    """Retry what has failed once. Not sooner: to set this up costs 35 us, twice what else a record costs."""
    attempts = stamina.retry_context(
        on=_back_off, attempts=None, timeout=None, wait_initial=timedelta(seconds=0.1), wait_max=timedelta(seconds=5)
    )
    async for attempt in attempts:
        with attempt:
            if attempt.num == 1:
                raise first_failure
            return await try_once()
    raise AssertionError("retries without a limit have ended")


def _is_cancelled_from_outside(error: BaseException) -> bool:
    """Tell a partition that is given up from code that lost a task of its own: passed on, that would end it unseen."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class _Retry(Exception):
    """Retry this observation: later and later in an outage, soon where the record may be at fault."""

    def __init__(self, outage: bool) -> None:
        super().__init__("in an outage" if outage else "while its dependency works for others")
        self.outage = outage


def _back_off(error: Exception) -> bool | float:
    """Say whether to retry, and after how many seconds; True leaves that to the back-off."""
    return isinstance(error, _Retry) and (error.outage or SOON_S)


async def _is_working(handler: Handler[Any, Any, Any, Any], dependency: str) -> bool:
    """Say whether a dependency's canary passes, and did so for a while."""
    canary = handler.canaries.get(dependency)
    if canary is None:
        return True
    now = asyncio.get_running_loop().time
    if not await canary():
        handler.failed_at[dependency] = now()
        return False
    failed_at = handler.failed_at.get(dependency)
    return failed_at is None or now() - failed_at > SETTLES_S


def _blame_record(error: Transient) -> DeadLetter:
    return DeadLetter(
        LoopReason.STILL_FAILING,
        detail=str(error),
        rule=f"{error.dependency} works for others, but failed {FAILURES_WITH_PASSING_CANARY} times for this record",
        remedy=f"look into {error.dependency}'s log at this time, then replay",
    )
