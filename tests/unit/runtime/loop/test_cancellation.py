"""A cancellation that was lost on the way is found again."""

import asyncio

import pytest

from roadloop_runtime.loop.cancellation import go_if_cancelled


async def test_a_task_that_was_cancelled_and_went_on_ends_and_another_one_does_not() -> None:
    went_on = asyncio.Event()

    async def loses_it() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            went_on.set()
        go_if_cancelled()
        raise AssertionError("it lived on")

    go_if_cancelled()
    task = asyncio.create_task(loses_it())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert went_on.is_set()
    go_if_cancelled()
