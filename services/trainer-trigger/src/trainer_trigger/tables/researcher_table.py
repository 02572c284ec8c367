"""The researchers and their tokens. A token is shown once; only its sha256 is kept."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.cloudevents import derive_id

PREFIX = "rlr_"

INSERT = """
insert into researchers (researcher_id, tenant, name, token_sha256, enrolled_at) values ($1, $2, $3, $4, $5)
on conflict (tenant, name) do update set token_sha256 = excluded.token_sha256, enrolled_at = excluded.enrolled_at,
    revoked_at = null
where researchers.revoked_at is not null
"""
OF_TOKEN = "select * from researchers where token_sha256 = $1 and revoked_at is null"  # noqa: S105 a statement
REVOKE = "update researchers set revoked_at = $3 where tenant = $1 and name = $2 and revoked_at is null"
ALL = "select * from researchers order by tenant, name"


@dataclass(frozen=True, slots=True)
class Researcher:
    """Somebody who may describe trainings for one tenant."""

    researcher_id: str
    tenant: str
    name: str
    enrolled_at: datetime
    revoked_at: datetime | None


async def enrol(pool: Pool, tenant: str, name: str, *, now: datetime) -> str | None:
    """Return a fresh token; None where the name is taken and not revoked."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = (derive_id("researcher", tenant, name), tenant, name, _digest(token), now)
    return token if await pool.execute(INSERT, *row) == "INSERT 0 1" else None


async def of_token(pool: Pool, token: str) -> Researcher | None:
    """Return whose token this is. It is looked up by its digest, so timing tells nothing about it."""
    row = await pool.fetchrow(OF_TOKEN, _digest(token))
    return _researcher(row) if row else None


async def revoke(pool: Pool, tenant: str, name: str, *, now: datetime) -> bool:
    """End a token; False where there is none."""
    return await pool.execute(REVOKE, tenant, name, now) == "UPDATE 1"


async def listed(pool: Pool) -> list[Researcher]:
    return [_researcher(row) for row in await pool.fetch(ALL)]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _researcher(row: asyncpg.Record) -> Researcher:
    return Researcher(row["researcher_id"], row["tenant"], row["name"], row["enrolled_at"], row["revoked_at"])
