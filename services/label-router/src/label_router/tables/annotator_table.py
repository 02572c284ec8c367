"""Who may label. A token is random, shown once, and kept as its sha256 alone."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from roadloop_runtime.storage.postgres import Connection, Pool

PREFIX = "rl_"


@dataclass(frozen=True, slots=True)
class Annotator:
    """Somebody who labels for one tenant. The id is the pseudonym that labels carry."""

    annotator_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What admins see of an annotator."""

    annotator_id: str
    tenant: str
    name: str
    enrolled_at: datetime
    revoked_at: datetime | None


def new_token() -> str:
    """Return 256 random bits: a plain hash of them cannot be reversed by guessing."""
    return PREFIX + secrets.token_urlsafe(32)


def new_annotator_id() -> str:
    return f"annotator-{secrets.token_hex(8)}"


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


ENROL = """
insert into annotators (annotator_id, tenant, name, token_sha256, enrolled_at) values ($1, $2, $3, $4, $5)
"""


async def enrol(connection: Connection, annotator: Annotator, name: str, *, token: str, now: datetime) -> None:
    await connection.execute(ENROL, annotator.annotator_id, annotator.tenant, name, digest(token), now)


FIND = "select annotator_id, tenant from annotators where token_sha256 = $1 and revoked_at is null"


async def find(pool: Pool, token: str) -> Annotator | None:
    """Return whose token this is; None where it is unknown or revoked."""
    row = await pool.fetchrow(FIND, digest(token))
    return Annotator(row["annotator_id"], row["tenant"]) if row else None


REVOKE = "update annotators set revoked_at = coalesce(revoked_at, $2) where annotator_id = $1 returning true"


async def revoke(connection: Connection, annotator_id: str, *, now: datetime) -> bool:
    """Refuse an annotator's token from now on; return whether there is such an annotator."""
    return bool(await connection.fetchval(REVOKE, annotator_id, now))


LIST = "select annotator_id, tenant, name, enrolled_at, revoked_at from annotators order by tenant, enrolled_at"


async def enrolments(connection: Connection) -> Sequence[Enrolment]:
    return [Enrolment(**row) for row in await connection.fetch(LIST)]
