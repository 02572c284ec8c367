"""Look at many things at once, but not at all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def gather_bounded(
    look: Callable[[T], Awaitable[R]], things: Iterable[T], seats: asyncio.Semaphore
) -> tuple[R, ...]:
    """Return what `look` says of each thing, in their order; as many are looked at together as there are seats.

    The first failure cancels the rest and comes out as it is, so that the loop can tell its kind. Seats may be shared.
    """

    async def one(thing: T) -> R:
        async with seats:
            return await look(thing)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(thing)) for thing in things]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return tuple(task.result() for task in tasks)
