"""Look at many things at once, but not at all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def gather_bounded(
    look: Callable[[T], Awaitable[R]], things: Iterable[T], semaphore: asyncio.Semaphore
) -> tuple[R, ...]:
    """Return what `look` says of each thing, in their order; as many are looked at together as `semaphore` lets in.

    The first failure cancels the rest and comes out as it is, so that the loop can tell its kind. The semaphore may be
    shared.
    """

    async def look_bounded(thing: T) -> R:
        async with semaphore:
            return await look(thing)

    # Neither a TaskGroup nor asyncio.gather: both may swallow a cancellation that comes while a look has failed.
    tasks = [asyncio.create_task(look_bounded(thing)) for thing in things]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done() and (failure := task.exception()):
                raise failure
        return tuple(task.result() for task in tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
