"""One runner works at a time: it waits for its lock, and takes turns as long as it holds it."""

import asyncio
from contextlib import suppress

import asyncpg
import structlog

from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.advisory_lock import acquire
from roadloop_runtime.storage.postgres import CONNECTION_FAILED, Connection
from trainer_trigger.handle import Dependencies, finish, open_due_runs
from trainer_trigger.open_run import unanswered_release
from trainer_trigger.tables import run_table, spec_table
from trainer_trigger.tables.notify import channel
from trainer_trigger.tables.spec import INSTEAD

log = structlog.get_logger()
LOOK_S = 15.0  # cooldowns end without anybody saying so
STAND_BY_S = 1.0
HOLD_S = 60.0  # a database that is slow to answer has not lost the lock, and a training is much to lose
PAUSE_S = 0.5  # labels come in bursts; counting them once is enough
AFTER_TRANSIENT_S = 5.0


class LockLost(Exception):
    """The connection that held the runner's lock is gone: another runner may be there. End."""


async def run_for_ever(needs: Dependencies, dsn: str) -> None:
    """Wait for the lock, then work until cancelled. Raises LockLost or RunMoved: the process ends."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
    try:
        await acquire(connection, "runner")
        woken = asyncio.Event()
        await connection.add_listener(await channel(connection), lambda *_: woken.set())
        for model in await spec_table.renew(needs.pool):
            log.warning("spec_renewed", model=model, max_seconds=INSTEAD)
        async with asyncio.TaskGroup() as group:
            group.create_task(_hold(connection))
            group.create_task(_work(needs, woken))
    finally:
        with suppress(Exception):
            await connection.close(timeout=2)


async def _hold(connection: Connection) -> None:
    """Notice that the lock is lost, even while a training runs."""
    while True:
        await asyncio.sleep(STAND_BY_S)
        try:
            await connection.fetchval("select 1", timeout=HOLD_S)
        except CONNECTION_FAILED as error:
            raise LockLost(str(error)) from error


async def _work(needs: Dependencies, woken: asyncio.Event) -> None:
    while True:
        woken.clear()
        try:
            if await take_turn(needs):
                continue
        except Transient as error:
            log.warning("waiting_for_dependency", error=str(error))
            await asyncio.sleep(AFTER_TRANSIENT_S)
            continue
        await asyncio.sleep(PAUSE_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await woken.wait()


async def take_turn(needs: Dependencies) -> bool:
    """Bring the oldest run that can go on to its end, or open runs that are due; False where there is neither."""
    for run in await run_table.open_runs(needs.pool):
        if await unanswered_release(needs.pool, run.model) is None:
            await finish(needs, run)
            return True
    return await open_due_runs(needs)
