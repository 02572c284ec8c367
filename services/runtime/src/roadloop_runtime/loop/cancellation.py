"""A cancellation that something on the way has answered with an error of its own, or with nothing at all."""

import asyncio


def go_if_cancelled() -> None:
    """Raise CancelledError where the current task was cancelled and has gone on.

    A rollback on a connection that is closed puts its own error in a cancellation's place, and nobody cancels twice.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
