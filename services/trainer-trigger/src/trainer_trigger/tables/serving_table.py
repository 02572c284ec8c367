"""Which version of each model screening uses, as it says on models.serving.v1."""

from dataclasses import dataclass

import structlog

from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.outcome import Undecodable
from roadloop_runtime.records import Record
from roadloop_runtime.storage.postgres import Connection, Pool
from roadloop_schemas.models import ModelServing, ServingState
from roadloop_schemas.topics import MODELS_SERVING
from trainer_trigger.tables.model_table import tenant_of
from trainer_trigger.tables.notify import wake

log = structlog.get_logger()
SERVING = MODELS_SERVING
decode = make_decoder(ModelServing)

SERVES = """
insert into serving (model, version, serving_since, answered_version, previous_version, candidate_version,
    candidate_stage) values ($1, $2, $3, $2, $4, $5, $6)
on conflict (model) do update set version = excluded.version, serving_since = excluded.serving_since,
    answered_version = greatest(serving.answered_version, excluded.answered_version),
    refused_version = nullif(serving.refused_version, excluded.version),
    previous_version = excluded.previous_version, candidate_version = excluded.candidate_version,
    candidate_stage = excluded.candidate_stage
"""
# The version before it goes on serving; where this table is new, the event says which that is.
REFUSED = """
insert into serving (model, version, serving_since, answered_version, refused_version, refused_detail)
    values ($1, $2, $3, $4, $4, $5)
on conflict (model) do update set version = coalesce(serving.version, excluded.version),
    answered_version = greatest(serving.answered_version, excluded.answered_version),
    refused_version = excluded.refused_version, refused_detail = excluded.refused_detail
"""
ONE = "select version, answered_version, previous_version, candidate_version from serving where model = $1"


@dataclass(frozen=True, slots=True)
class Serving:
    """`version` serves; releases up to `answered_version` have been answered, by serving or refusing them.

    `previous` served before, `candidate` is tried on live frames.
    """

    version: int | None
    answered_version: int
    previous: int | None = None
    candidate: int | None = None


NOTHING = Serving(None, 0)


async def take(pool: Pool, record: Record) -> None:
    """Keep what one record says. What is no event, or speaks of another tenant's model, is logged and left."""
    try:
        seen = decode(record)
    except Undecodable as error:
        log.error("serving_undecodable", offset=record.offset, detail=error.dead_letter.detail)
        return
    if seen.envelope.tenant != tenant_of(seen.body.model):
        log.error("serving_of_another_tenant", model=seen.body.model, tenant=seen.envelope.tenant)
        return
    async with pool.acquire() as connection, connection.transaction():
        await _set(connection, seen)
        await wake(connection)


async def _set(connection: Connection, seen: Received[ModelServing]) -> None:
    body = seen.body
    if body.state is ServingState.SERVING:
        tried = body.candidate
        on_trial = (tried.version, tried.in_words) if tried else (None, "")
        row = (body.model, body.version, body.serving_since, body.previous_version, *on_trial)
        await connection.execute(SERVES, *row)
    else:
        before = body.previous_version
        await connection.execute(REFUSED, body.model, before, body.serving_since, body.version, body.detail)


async def of_model(pool: Pool, model: str) -> Serving:
    row = await pool.fetchrow(ONE, model)
    return Serving(*row) if row else NOTHING
