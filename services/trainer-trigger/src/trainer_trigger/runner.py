"""The way of a run: is it time, train, measure, gate, release. One runner works at a time.

Everything here can be done again: a run that was cut off by a crash is taken up as the same run, and what its work
folder has whole is kept.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import asyncpg
import structlog
from prometheus_client import Counter

from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.advisory_lock import acquire
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing, ObjectStore
from roadloop_runtime.storage.postgres import CONNECTION_FAILED, Connection, Pool
from roadloop_schemas.models import ModelReleased, TrainingState
from trainer_trigger.evaluation.gate import Pass, Refuse, gate
from trainer_trigger.evaluation.measure import Measured, measure
from trainer_trigger.open_run import consider, serving_release, unanswered_release
from trainer_trigger.tables import label_table, model_table, run_table, spec_table
from trainer_trigger.tables.notify import channel
from trainer_trigger.tables.run import Run
from trainer_trigger.tables.spec import INSTEAD
from trainer_trigger.training import candidate, dataset
from trainer_trigger.training.candidate import Workshop
from trainer_trigger.training.frame_set import BadSet
from trainer_trigger.training.release import BadFolder, release
from trainer_trigger.training.trainer_process import TrainerFailed

log = structlog.get_logger()
RUNS = Counter("roadloop_training_runs", "Runs that ended, by kind and final state.", ["kind", "state"])
LOOK_S = 15.0  # cooldowns end without anybody saying so
STAND_BY_S = 1.0
HOLD_S = 60.0  # a database that is slow to answer has not lost the lock, and a training is much to lose
PAUSE_S = 0.5  # labels come in bursts; counting them once is enough
AFTER_TRANSIENT_S = 5.0


class LockLost(Exception):
    """The connection that held the runner's lock is gone: another runner may be there. End."""


@dataclass(frozen=True, slots=True)
class Runner:
    """What the runner works with."""

    pool: Pool
    store: ObjectStore
    models_bucket: str
    workshop: Workshop
    now: Callable[[], datetime]


async def run_for_ever(runner: Runner, dsn: str) -> None:
    """Wait for the lock, then work until cancelled. Raises LockLost or RunMoved: the process ends."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
    try:
        await acquire(connection, "runner")
        woken = asyncio.Event()
        await connection.add_listener(await channel(connection), lambda *_: woken.set())
        for model in await spec_table.renew(runner.pool):
            log.warning("spec_renewed", model=model, max_seconds=INSTEAD)
        async with asyncio.TaskGroup() as group:
            group.create_task(_hold(connection))
            group.create_task(_work(runner, woken))
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


async def _work(runner: Runner, woken: asyncio.Event) -> None:
    while True:
        woken.clear()
        try:
            if await turn(runner):
                continue
        except Transient as error:
            log.warning("waiting_for_dependency", error=str(error))
            await asyncio.sleep(AFTER_TRANSIENT_S)
            continue
        await asyncio.sleep(PAUSE_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await woken.wait()


async def turn(runner: Runner) -> bool:
    """Bring the oldest run that can go on to its end, or open runs that are due; False where there is neither."""
    for run in await run_table.open_runs(runner.pool):
        if await unanswered_release(runner.pool, run.model) is None:
            await execute(runner, run)
            return True
    specs = await spec_table.everything(runner.pool)
    opened = [await consider(runner.pool, model, spec, now=runner.now()) for model, spec in specs.items()]
    return any(opened)


async def execute(runner: Runner, run: Run) -> Run:
    """Bring one run to its end. Raises Transient where it has to wait, RunMoved where another runner has it."""
    with structlog.contextvars.bound_contextvars(run_id=run.run_id, model=run.model):
        log.info("run_taken_up", state=run.state, labels=run.labels)
        if run.state is TrainingState.QUEUED:
            run = await _change(runner, run, state=TrainingState.RUNNING)
        try:
            ended = await _execute(runner, run)
        except (TrainerFailed, BadSet, BadFolder, ObjectMissing, ObjectChanged) as error:
            now = await run_table.get(runner.pool, run.run_id) or run
            ended = await _change(runner, now, state=TrainingState.FAILED, detail=str(error))
        await asyncio.to_thread(runner.workshop.tidy, run.run_id, runner.now())
        RUNS.labels(ended.kind.value, ended.state.value).inc()
        log.info("run_ended", state=ended.state, detail=ended.detail)
        return ended


async def _execute(runner: Runner, run: Run) -> Run:
    serving = await serving_release(runner.pool, run.model)
    if serving is None:
        raise TrainerFailed(f"nothing serves as {run.model} any more")
    folder = await _candidate(runner, run, serving)
    measured = await measure(runner.workshop, run, serving, folder)
    run = await _change(runner, run, state=TrainingState.EVALUATED, metrics=measured.metrics)
    return await _decide(runner, run, measured, serving=serving, folder=folder)


async def _decide(runner: Runner, run: Run, measured: Measured, *, serving: ModelReleased, folder: Path) -> Run:
    verdict = gate(measured.serving, measured.candidate, run.spec.gate, confidence=measured.confidence)
    log.info("gate", verdict=str(verdict), **measured.table)
    match verdict:
        case Refuse():
            return await _change(runner, run, state=TrainingState.REFUSED, detail=str(verdict))
        case Pass():
            bucket, now = runner.models_bucket, runner.now()
            return await release(runner.pool, runner.store, bucket, run=run, serving=serving, folder=folder, now=now)


async def _candidate(runner: Runner, run: Run, serving: ModelReleased) -> Path:
    if run.offer is not None:
        return await candidate.fetch_offer(runner.workshop, run.run_id, run.offer)
    labels = await label_table.of_run(runner.pool, run.tenant, run.run_id)
    pictures, missing = await dataset.collect(labels, runner.workshop.cache)
    if missing:
        await _set_aside(runner, run, labels, missing)
    base = await model_table.get(runner.pool, run.model, run.base_version) or serving
    return await candidate.train(runner.workshop, run, base, labels=labels, pictures=pictures)


async def _set_aside(runner: Runner, run: Run, labels: list[label_table.Label], missing: dict[str, str]) -> None:
    """Keep labels without a picture out of the next dataset, and fail this run: its dataset is what its id says."""
    async with runner.pool.acquire() as connection, connection.transaction():
        for label in labels:
            if label.frame_id in missing:
                await label_table.set_unusable(connection, run.tenant, label, missing[label.frame_id])
    frame_id, why = next(iter(missing.items()))
    raise TrainerFailed(f"{len(missing)} pictures cannot be had, they are left out from now on: {frame_id}: {why}")


async def _change(runner: Runner, run: Run, **new: object) -> Run:
    async with runner.pool.acquire() as connection, connection.transaction():
        return await run_table.change(connection, run, replace(run, changed_at=runner.now(), **new))  # type: ignore[arg-type]
