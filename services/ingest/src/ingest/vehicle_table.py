"""The vehicles that may upload, and their public keys."""

from dataclasses import dataclass
from datetime import datetime

from roadloop_runtime.storage.postgres import Connection, Reader


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One enrolled vehicle."""

    tenant: str
    vehicle: str
    public_key: str
    enrolled_at: datetime
    revoked_at: datetime | None


ENROL = """
insert into vehicles (tenant, vehicle, public_key) values ($1, $2, $3)
on conflict (tenant, vehicle) do update
    set public_key = excluded.public_key, enrolled_at = now(), revoked_at = null
    where vehicles.revoked_at is not null
returning vehicle
"""
REVOKE = "update vehicles set revoked_at = now() where tenant = $1 and vehicle = $2 and revoked_at is null"
FIND = "select tenant, vehicle, public_key, enrolled_at, revoked_at from vehicles where tenant = $1 and vehicle = $2"
LIST = "select tenant, vehicle, public_key, enrolled_at, revoked_at from vehicles order by tenant, vehicle"


async def enrol(connection: Connection, tenant: str, vehicle: str, public_key: str) -> bool:
    """Store a vehicle's public key; False where it is enrolled already and its key was not revoked."""
    return await connection.fetchval(ENROL, tenant, vehicle, public_key) is not None


async def revoke(connection: Connection, tenant: str, vehicle: str) -> bool:
    """Refuse a vehicle from now on; False where there is none to revoke."""
    return await connection.execute(REVOKE, tenant, vehicle) == "UPDATE 1"


async def find(pool: Reader, tenant: str, vehicle: str) -> Vehicle | None:
    row = await pool.fetchrow(FIND, tenant, vehicle)
    return Vehicle(*row) if row else None


async def list_all(connection: Connection) -> list[Vehicle]:
    return [Vehicle(*row) for row in await connection.fetch(LIST)]
