"""The training specs, one per model."""

from datetime import datetime

from roadloop_runtime.storage.postgres import Pool
from trainer_trigger.tables.model_table import tenant_of
from trainer_trigger.tables.notify import wake
from trainer_trigger.tables.spec import Spec

SET = """
insert into specs (model, tenant, body, set_by, set_at) values ($1, $2, $3, $4, $5)
on conflict (model) do update set body = excluded.body, set_by = excluded.set_by, set_at = excluded.set_at
"""
ONE = "select body from specs where model = $1"
OLD = "select model, body from specs where body::jsonb ? 'max_seconds' order by model for update"
RENEW = "update specs set body = $2 where model = $1"
ALL = "select model, body from specs order by model"


async def put(pool: Pool, model: str, spec: Spec, *, by: str, now: datetime) -> None:
    """Set a model's spec; it counts from the next run on."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(SET, model, tenant_of(model), spec.model_dump_json(), by, now)
        await wake(connection)


async def get(pool: Pool, model: str) -> Spec | None:
    body = await pool.fetchval(ONE, model)
    return Spec.model_validate_json(body) if body else None


async def renew(pool: Pool) -> list[str]:
    """Write anew what older versions stored; return the models whose spec had a limit that means another thing now."""
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(OLD)
        for row in rows:
            spec = Spec.model_validate_json(row["body"])
            await connection.execute(RENEW, row["model"], spec.model_dump_json())
    return [row["model"] for row in rows]


async def everything(pool: Pool) -> dict[str, Spec]:
    return {row["model"]: Spec.model_validate_json(row["body"]) for row in await pool.fetch(ALL)}
