"""Take a spec: check it against what is there, then store it. HTTP and commands do the same."""

from datetime import datetime

from roadloop_runtime.storage.objects import ObjectStore
from roadloop_runtime.storage.postgres import Pool
from trainer_trigger.intake.check_spec import check_spec
from trainer_trigger.tables import model_table, spec_table
from trainer_trigger.tables.model_table import tenant_of
from trainer_trigger.tables.spec import Spec


async def accept_spec(
    pool: Pool, store: ObjectStore, bucket: str, *, model: str, spec: Spec, by: str, now: datetime
) -> None:
    """Store a spec that fits. Raises Unfit, or Transient where S3 does not answer."""
    newest = await model_table.newest(pool, model)
    card = newest.card if newest else None
    await check_spec(spec, tenant=tenant_of(model), bucket=bucket, card=card, store=store)
    await spec_table.put(pool, model, spec, by=by, now=now)
