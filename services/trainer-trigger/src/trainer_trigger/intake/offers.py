"""Take an offered model into the queue: it passes the same gate as a trained one."""

from datetime import datetime

from roadloop_runtime.storage.objects import ObjectStore
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.models import ModelReleased
from trainer_trigger.intake.check_spec import check_classes, check_place, fetch
from trainer_trigger.reasons import SpecReason
from trainer_trigger.refusals import Unfit
from trainer_trigger.tables import model_table, run_table, serving_table, spec_table
from trainer_trigger.tables.run import Kind, Offer, Run
from trainer_trigger.tables.spec import Spec


async def queue_offer(
    pool: Pool, store: ObjectStore, bucket: str, *, model: str, offer: Offer, now: datetime
) -> tuple[Run, bool]:
    """Return the run of an offer, and whether it is new: the same weights against the same version are one run.

    Raises Unfit, or Transient where S3 does not answer.
    """
    spec, serving = await _context(pool, model)
    tenant = model_table.tenant_of(model)
    check_classes("card.classes", offer.card.classes, serving.card)
    for field, reference in (("weights", offer.weights), ("checkpoint", offer.checkpoint)):
        if reference is not None:
            check_place(field, reference, bucket=bucket, tenant=tenant)
            await fetch(field, reference, store)
    dataset_id = derive_id("offer", offer.weights.sha256, spec.validation_set.sha256)
    run = Run(
        run_id=derive_id("run", model, dataset_id, serving.version),
        tenant=tenant,
        model=model,
        kind=Kind.OFFER,
        dataset_id=dataset_id,
        base_version=serving.version,
        labels=0,
        spec=spec,
        offer=offer,
        queued_at=now,
        changed_at=now,
    )
    is_new = await run_table.open_run(pool, run)
    return await run_table.get(pool, run.run_id) or run, is_new


async def _context(pool: Pool, model: str) -> tuple[Spec, ModelReleased]:
    """Return the spec, whose validation set and gate count, and the version to compare with."""
    spec = await spec_table.get(pool, model)
    if spec is None:
        raise Unfit(SpecReason.NO_SPEC, "model", "this model has no spec, so there is no validation set: put one first")
    version = (await serving_table.of_model(pool, model)).version
    serving = await model_table.get(pool, model, version) if version else None
    if serving is None:
        raise Unfit(
            SpecReason.NOTHING_SERVES, "model", "no version serves yet, so there is nothing to compare with: wait"
        )
    return spec, serving
