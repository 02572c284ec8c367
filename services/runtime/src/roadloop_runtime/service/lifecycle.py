"""Run a service: its loops and tasks side by side, one orderly stop, one honest exit code."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from roadloop_runtime.broker import Fenced
from roadloop_runtime.loop.identity import EXIT_RESTART, EXIT_STAY_ENDED, Superseded
from roadloop_runtime.loop.member_claims import Claim

log = structlog.get_logger()
Part = Coroutine[Any, Any, None]
ENDS_WITHIN_S = 30.0


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main` until SIGTERM or SIGINT sets its event; return the exit code.

    0 after an orderly stop; 78 where a younger process has this member id (do not restart); 1 for the rest.
    """
    _spare_what_stays()
    try:
        with asyncio.Runner() as runner:
            runner.run(_run_with_signals(main))
    except (BaseExceptionGroup, Exception) as error:
        for leaf in flatten_error(error):
            is_expected = isinstance(leaf, Superseded)
            log.error("ended", error=f"{type(leaf).__name__}: {leaf}", exc_info=None if is_expected else leaf)
        return choose_exit_code(error)
    return 0


def _spare_what_stays() -> None:
    """Tell the garbage collector not to look through modules and models again and again, as records come and go."""
    gc.collect()
    gc.freeze()


def choose_exit_code(error: BaseException | None) -> int:
    """Return what a process ends with that ended by this."""
    if error is None:
        return 0
    return EXIT_STAY_ENDED if any(isinstance(leaf, Superseded) for leaf in flatten_error(error)) else EXIT_RESTART


def flatten_error(error: BaseException) -> list[BaseException]:
    """Return the errors in a group of groups, or the error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in flatten_error(inner)]


async def _run_with_signals(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await main(stopping)


async def run_side_by_side(
    stopping: asyncio.Event, loops: list[Part], others: list[Part], *, ends_within_s: float = ENDS_WITHIN_S
) -> None:
    """Run loops and other parts; when the loops have drained after `stopping`, end the others.

    One part that fails ends all: half a service is worse than a restarted one. Where the others have not ended after
    `ends_within_s`, the process ends all the same: every part of it can be killed at any time, but not live on for ever
    as half of itself.
    """

    async def run_part(part: Part) -> None:
        try:
            await part
        except Exception as error:
            asyncio.get_running_loop().call_later(ends_within_s, _end_at_once, error)
            raise

    async with asyncio.TaskGroup() as part_group:
        other_tasks = [part_group.create_task(run_part(part)) for part in others]
        async with asyncio.TaskGroup() as loop_group:
            for loop in loops:
                loop_group.create_task(run_part(loop))
            loop_group.create_task(_wait_for_stop(stopping))
        for task in other_tasks:
            task.cancel()


def _end_at_once(error: Exception) -> None:
    """End the process, and say what did not."""
    unfinished = [str(task.get_coro()) for task in asyncio.all_tasks()]
    log.error("does_not_end", error=f"{type(error).__name__}: {error}", tasks=unfinished)
    os._exit(choose_exit_code(error))


async def _wait_for_stop(stopping: asyncio.Event) -> None:
    await stopping.wait()


async def run_and_tell_fenced_apart(claim: Claim, loop: Part) -> None:
    """Run a loop; where it was fenced by a younger process with its member id, say so instead.

    A zombie that woke up after its partition moved on is restarted; the older of two twins is not.
    """
    try:
        await loop
    except* Fenced as group:
        if await claim.is_superseded():
            raise Superseded(f"fenced by a younger process with my member id {claim.me.member}") from group
        raise
