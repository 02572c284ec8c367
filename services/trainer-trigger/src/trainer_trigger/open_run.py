"""Open a training run when it is time."""

from datetime import datetime

import structlog

from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.models import ModelReleased
from trainer_trigger.tables import label_table, model_table, run_table, serving_table
from trainer_trigger.tables.model_table import tenant_of
from trainer_trigger.tables.run import Kind, Run
from trainer_trigger.tables.spec import Spec
from trainer_trigger.training import dataset
from trainer_trigger.trigger import COOLS_DOWN_AFTER, Facts, StartRun, Wait, attempt_of, is_time

log = structlog.get_logger()


async def open_if_due(pool: Pool, model: str, spec: Spec, *, now: datetime) -> bool:
    """Open a training run if it is time; return whether one was opened."""
    serving = await serving_release(pool, model)
    if serving is None:
        return False
    facts = await gather_facts(pool, model, serving, now=now)
    match is_time(facts, spec):
        case Wait(reason, detail):
            log.debug("no_run_yet", model=model, reason=reason, detail=detail)
            return False
        case StartRun(base_version):
            return await _open(pool, model, spec, serving=serving, base_version=base_version, now=now)


async def gather_facts(pool: Pool, model: str, serving: ModelReleased, *, now: datetime) -> Facts:
    tenant = tenant_of(model)
    since = await run_table.last_good(pool, model)
    return Facts(
        now=now,
        serving_version=serving.version,
        unanswered_release=await unanswered_release(pool, model),
        open_run=await run_table.open_training(pool, model),
        new_labels=await label_table.count_new(pool, tenant, serving.card.classes, since),
        last_ended_at=await run_table.last_ended_at(pool, model, COOLS_DOWN_AFTER),
    )


async def _open(
    pool: Pool, model: str, spec: Spec, *, serving: ModelReleased, base_version: int, now: datetime
) -> bool:
    labels = await label_table.take(pool, tenant_of(model), serving.card.classes, limit=dataset.MAX_FRAMES)
    digest = dataset.dataset_id(labels, spec.base_set.sha256)
    attempt = attempt_of(await run_table.failed_on(pool, model, digest))
    if attempt is None:
        log.warning("dataset_given_up", model=model, dataset_id=digest)
        return False
    run = Run(
        run_id=derive_id("run", model, digest, *([attempt] if attempt else [])),
        tenant=tenant_of(model),
        model=model,
        kind=Kind.TRAINING,
        dataset_id=digest,
        base_version=base_version,
        labels=len(labels),
        spec=spec,
        queued_at=now,
        changed_at=now,
    )
    return await run_table.open_run(pool, run, labels)


async def serving_release(pool: Pool, model: str) -> ModelReleased | None:
    version = (await serving_table.of_model(pool, model)).version
    return await model_table.get(pool, model, version) if version else None


async def unanswered_release(pool: Pool, model: str) -> int | None:
    """Return the newest release if screening has not said yet what came of it."""
    newest = await model_table.last_version(pool, model)
    return newest if newest > (await serving_table.of_model(pool, model)).answered_version else None
