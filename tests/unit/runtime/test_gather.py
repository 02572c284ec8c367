"""Many looks at once, bounded, in order; a failure comes out as it is."""

import asyncio

import pytest

from roadloop_runtime.gather import gather_bounded
from roadloop_runtime.outcome import Transient


async def test_answers_come_in_order_and_no_more_are_looked_at_than_there_are_seats() -> None:
    now, most = 0, 0

    async def look(number: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(20 - number):
            await asyncio.sleep(0)
        now -= 1
        return number * 10

    seats = asyncio.Semaphore(3)
    both = await asyncio.gather(gather_bounded(look, range(10), seats), gather_bounded(look, range(10, 20), seats))
    assert both == [tuple(range(0, 100, 10)), tuple(range(100, 200, 10))]
    assert most == 3, "seats are shared"


async def test_the_first_failure_cancels_the_rest_and_comes_out_as_it_is() -> None:
    cancelled: list[int] = []

    async def look(number: int) -> int:
        if number == 1:
            raise Transient("s3", "no answer")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    seats = asyncio.Semaphore(8)
    with pytest.raises(Transient, match="s3: no answer"):
        await gather_bounded(look, range(4), seats)
    assert sorted(cancelled) == [0, 2, 3]
    assert await gather_bounded(abs, (), seats) == ()  # type: ignore[arg-type]
    assert not seats.locked(), "the seats are free again"


@pytest.mark.parametrize("turns", range(1, 9))
async def test_cancelling_it_is_never_lost_in_a_failure(turns: int) -> None:
    """Whoever gives up an observation counts on its end, also where a look has failed at that very moment."""
    failing = asyncio.Event()

    async def look(number: int) -> None:
        await failing.wait()
        if number == 0:
            raise Transient("s3", "no answer")
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(6):  # whatever cleans up takes a while
                await asyncio.sleep(0)

    task = asyncio.create_task(gather_bounded(look, range(3), asyncio.Semaphore(3)))
    await asyncio.sleep(0)
    failing.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_it_cancels_every_look_and_is_not_taken_for_a_failure() -> None:
    entered = asyncio.Event()

    async def look(_: int) -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(gather_bounded(look, range(3), asyncio.Semaphore(2)))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
