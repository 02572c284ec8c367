"""The releases of each model. A version number is given once and never again."""

import json
from dataclasses import dataclass
from datetime import datetime

from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.records import to_cloud_event
from roadloop_runtime.storage.postgres import Connection, Pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.models import ModelReleased
from roadloop_schemas.topics import MODELS_RELEASED
from trainer_trigger.tables.notify import wake

SOURCE = "/roadloop/trainer-trigger"
RELEASED = MODELS_RELEASED

INSERT = "insert into releases (model, version, tenant, body, released_at) values ($1, $2, $3, $4, $5)"
ONE = "select body from releases where model = $1 and version = $2"
NEWEST = "select body from releases where model = $1 order by version desc limit 1"
ANSWERED = """
update serving set answered_version = (select max(version) from releases where model = $1) where model = $1
"""
LAST_VERSION = "select coalesce(max(version), 0) from releases where model = $1"
# What was measured of a version at its release, or else when it was last compared with a candidate.
LISTED = """
select r.body, s.version = r.version as serves, s.serving_since,
    case when s.candidate_version = r.version then s.candidate_stage
        when s.refused_version = r.version then 'refused: ' || s.refused_detail
        else '' end as rollout, coalesce(
    (r.body #>> '{metrics,map50}')::float,
    (select (metrics ->> 'serving.map50')::float from runs
     where runs.model = r.model and base_version = r.version and metrics ? 'serving.map50'
     order by changed_at desc limit 1)) as map50
from releases r left join serving s on s.model = r.model
where ($1::text is null or r.tenant = $1) and ($2::text is null or r.model = $2)
order by r.model, r.version
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """One version of a model, what was measured of it, and since when it serves, if it does.

    `rollout` says how it is tried on live frames, or why screening has refused it.
    """

    release: ModelReleased
    map50: float | None
    serving_since: datetime | None
    rollout: str = ""


def tenant_of(model: str) -> str:
    """Return whose a model is: its name ends with a dot and the tenant, as in `detector.acme`."""
    return model.rpartition(".")[2]


async def insert(connection: Connection, release: ModelReleased) -> None:
    """Store a release and tell the world, in the caller's transaction.

    Raises asyncpg.UniqueViolationError where the version is taken.
    """
    tenant = tenant_of(release.model)
    row = (release.model, release.version, tenant, release.model_dump_json(), release.released_at)
    await connection.execute(INSERT, *row)
    await tell(connection, release)


async def roll_back(connection: Connection, release: ModelReleased) -> None:
    """Tell the world that an older release serves again, in the caller's transaction; nothing newer is waited for."""
    await connection.execute(ANSWERED, release.model)
    await tell(connection, release)


async def tell(connection: Connection, release: ModelReleased) -> None:
    """Write a release's event."""
    tenant = tenant_of(release.model)
    released = to_cloud_event(
        RELEASED,
        release,
        id=derive_id("release", release.release_id),
        source=SOURCE,
        tenant=tenant,
        key=release.model,
        time=release.released_at,
        subject=f"{release.model}/{release.version}",
    )
    await outbox_table.append(connection, [released])
    await wake(connection)


async def get(pool: Pool, model: str, version: int) -> ModelReleased | None:
    body = await pool.fetchval(ONE, model, version)
    return ModelReleased.model_validate_json(body) if body else None


async def newest(pool: Pool, model: str) -> ModelReleased | None:
    body = await pool.fetchval(NEWEST, model)
    return ModelReleased.model_validate_json(body) if body else None


async def last_version(pool: Pool, model: str) -> int:
    return int(await pool.fetchval(LAST_VERSION, model))


async def listed(pool: Pool, *, tenant: str | None = None, model: str | None = None) -> list[Listed]:
    """Return all versions, oldest first, of one tenant or model or of all."""
    rows = await pool.fetch(LISTED, tenant, model)
    return [
        Listed(
            ModelReleased.model_validate(json.loads(row["body"])),
            row["map50"],
            row["serving_since"] if row["serves"] else None,
            row["rollout"],
        )
        for row in rows
    ]
