"""The story of trainer-trigger: a label is stored, and when it is time, a run makes a better model of what there is.

- `decide`: a label is checked and stored with its offset; the runner is notified.
- `open_due_runs`: is it time (`trigger.py`)? Then a run is queued with its dataset.
- `finish`: a run trains a candidate (`training/`), measures it beside what serves and lets it pass the gate or not
  (`evaluation/`), and releases it (`training/release.py`).

A run can be done again at every step: one that was cut off by a crash is taken up as the same run, and what its work
folder has whole is kept. `runner.py` sees to it that one at a time is worked on.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog
from prometheus_client import Counter

from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing, ObjectStore
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.fields import is_tenant
from roadloop_schemas.labels import LabelCompleted
from roadloop_schemas.models import ModelReleased, TrainingState
from roadloop_schemas.topics import LABELS_COMPLETED
from trainer_trigger.evaluation.gate import Pass, Refuse, gate
from trainer_trigger.evaluation.measure import Measured, measure
from trainer_trigger.open_run import open_if_due, serving_release
from trainer_trigger.reasons import LabelReason
from trainer_trigger.refusals import BadFolder, BadSet
from trainer_trigger.tables import label_table, model_table, run_table, spec_table
from trainer_trigger.tables.label_table import Completed
from trainer_trigger.tables.run import Run
from trainer_trigger.training import candidate, dataset
from trainer_trigger.training.candidate import Workshop
from trainer_trigger.training.release import release
from trainer_trigger.training.trainer_process import TrainerFailed

GROUP = "trainer-trigger"
LABELS = LABELS_COMPLETED
Observation = Received[LabelCompleted]

log = structlog.get_logger()
RUNS = Counter("roadloop_training_runs", "Runs that ended, by kind and final state.", ["kind", "state"])


def decide(memory: None, seen: Observation, uploads_bucket: str) -> tuple[None, Outcome]:
    """Store every label whose picture lies in our own bucket."""
    tenant, label = seen.envelope.tenant, seen.body
    if not is_tenant(tenant):
        return memory, DeadLetter(
            LabelReason.NO_TENANT,
            detail=f"ce_tenant is {tenant!r}",
            field="ce_tenant",
            rule="a tenant has 1 to 63 of a-z, 0-9 and -",
            remedy="send the label with the tenant of its frame, then replay",
        )
    if label.object.bucket != uploads_bucket:
        return memory, DeadLetter(
            LabelReason.FOREIGN_BUCKET,
            detail=f"{label.object.uri} is not in the bucket {uploads_bucket}",
            field="object.uri",
            rule=f"pictures lie in s3://{uploads_bucket}/",
            remedy="send the label with the object of frames.ingested.v1, then replay",
        )
    return memory, Emit(changes=(Completed(tenant, label),))


def handler(uploads_bucket: str) -> Handler[Observation, Observation, None, str]:
    return Handler(decode=make_decoder(LabelCompleted), decide=decide, policy=lambda: uploads_bucket)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a run needs. `now` is asked once per change."""

    pool: Pool
    store: ObjectStore
    models_bucket: str
    workshop: Workshop
    now: Callable[[], datetime]


async def open_due_runs(needs: Dependencies) -> bool:
    """Queue a run for each model whose time it is; return whether there was one."""
    specs = await spec_table.everything(needs.pool)
    opened = [await open_if_due(needs.pool, model, spec, now=needs.now()) for model, spec in specs.items()]
    return any(opened)


async def finish(needs: Dependencies, run: Run) -> Run:
    """Bring one run to its end. Raises Transient where it has to wait, RunMoved where another runner has it."""
    with structlog.contextvars.bound_contextvars(run_id=run.run_id, model=run.model):
        log.info("run_taken_up", state=run.state, labels=run.labels)
        if run.state is TrainingState.QUEUED:
            run = await _change(needs, run, state=TrainingState.RUNNING)
        try:
            ended = await _train_and_judge(needs, run)
        except (TrainerFailed, BadSet, BadFolder, ObjectMissing, ObjectChanged) as error:
            now = await run_table.get(needs.pool, run.run_id) or run
            ended = await _change(needs, now, state=TrainingState.FAILED, detail=str(error))
        await asyncio.to_thread(needs.workshop.tidy, run.run_id, needs.now())
        RUNS.labels(ended.kind.value, ended.state.value).inc()
        log.info("run_ended", state=ended.state, detail=ended.detail)
        return ended


async def _train_and_judge(needs: Dependencies, run: Run) -> Run:
    serving = await serving_release(needs.pool, run.model)
    if serving is None:
        raise TrainerFailed(f"nothing serves as {run.model} any more")
    folder = await _make_candidate(needs, run, serving)
    measured = await measure(needs.workshop, run, serving, folder)
    run = await _change(needs, run, state=TrainingState.EVALUATED, metrics=measured.metrics)
    return await _judge(needs, run, measured, serving=serving, folder=folder)


async def _judge(needs: Dependencies, run: Run, measured: Measured, *, serving: ModelReleased, folder: Path) -> Run:
    verdict = gate(measured.serving, measured.candidate, run.spec.gate, confidence=measured.confidence)
    log.info("gate", verdict=str(verdict), **measured.table)
    match verdict:
        case Refuse():
            return await _change(needs, run, state=TrainingState.REFUSED, detail=str(verdict))
        case Pass():
            bucket, now = needs.models_bucket, needs.now()
            return await release(needs.pool, needs.store, bucket, run=run, serving=serving, folder=folder, now=now)


async def _make_candidate(needs: Dependencies, run: Run, serving: ModelReleased) -> Path:
    if run.offer is not None:
        return await candidate.fetch_offer(needs.workshop, run.run_id, run.offer)
    labels = await label_table.of_run(needs.pool, run.tenant, run.run_id)
    pictures, missing = await dataset.collect(labels, needs.workshop.cache)
    if missing:
        await _set_aside(needs, run, labels, missing)
    base = await model_table.get(needs.pool, run.model, run.base_version) or serving
    return await candidate.train(needs.workshop, run, base, labels=labels, pictures=pictures)


async def _set_aside(needs: Dependencies, run: Run, labels: list[label_table.Label], missing: dict[str, str]) -> None:
    """Keep labels without a picture out of the next dataset, and fail this run: its dataset is what its id says."""
    async with needs.pool.acquire() as connection, connection.transaction():
        for label in labels:
            if label.frame_id in missing:
                await label_table.set_unusable(connection, run.tenant, label, missing[label.frame_id])
    frame_id, why = next(iter(missing.items()))
    raise TrainerFailed(f"{len(missing)} pictures cannot be had, they are left out from now on: {frame_id}: {why}")


async def _change(needs: Dependencies, run: Run, **new: object) -> Run:
    async with needs.pool.acquire() as connection, connection.transaction():
        return await run_table.change(connection, run, replace(run, changed_at=needs.now(), **new))  # type: ignore[arg-type]
