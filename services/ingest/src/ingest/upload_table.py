"""Uploads and their files: announced, completed, admitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ingest import fate_table, vehicle_table
from ingest.handle import Admitted
from ingest.manifest import Manifest
from ingest.sender import Known
from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.postgres import DATABASE_AWAY, Connection, Pool, Reader
from roadloop_schemas.uploads import UploadCompleted


@dataclass(frozen=True, slots=True)
class Upload:
    """What was announced, as the vehicle sent it."""

    vehicle: str
    drive: str
    manifest: str | None
    completed_at: datetime | None

    def is_of(self, manifest: Manifest) -> bool:
        """Say whether this is what was announced, also where the manifest has more fields by now."""
        return self.manifest is not None and Manifest.model_validate_json(self.manifest) == manifest


ANNOUNCE = """
insert into uploads (tenant, upload_id, vehicle, drive, announced, manifest, received_at)
values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning upload_id
"""
FIND = """
select vehicle, drive, manifest, completed_at from uploads
where tenant = $1 and upload_id = $2
"""
COMPLETE = """
update uploads set completed_at = $3, whole_fate = null, whole_reason = ''
where tenant = $1 and upload_id = $2 and completed_at is null
"""
STATE = "select vehicle, admitted_at is not null as admitted from uploads where tenant = $1 and upload_id = $2"
ACCEPTED = "select sha256 from frames where tenant = $1 and vehicle = $2 and sha256 = any($3::text[])"
ADMIT = """
insert into uploads (tenant, upload_id, vehicle, drive, announced, received_at, replayed, completed_at, admitted_at)
values ($1, $2, $3, $4, $5, $6, $7, $6, now())
on conflict (tenant, upload_id) do update
    set admitted_at = now(), announced = excluded.announced, whole_fate = null, whole_reason = '',
        completed_at = coalesce(uploads.completed_at, excluded.completed_at),
        replayed = uploads.replayed or excluded.replayed
"""
ADD_FILE = """
insert into files (tenant, upload_id, number, sha256, fate, reason, detail) values ($1, $2, $3, $4, $5, $6, $7)
on conflict do nothing
"""
ADD_FRAME = """
insert into frames (frame_id, tenant, vehicle, upload_id, unit_id, sha256, received_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""


async def announce(
    connection: Connection, tenant: str, upload: Upload, upload_id: str, *, files: int, now: datetime
) -> bool:
    """Store an announcement; False where the id is taken."""
    row = (tenant, upload_id, upload.vehicle, upload.drive, files, upload.manifest, now)
    return await connection.fetchval(ANNOUNCE, *row) is not None


async def find(pool: Reader, tenant: str, upload_id: str) -> Upload | None:
    row = await pool.fetchrow(FIND, tenant, upload_id)
    return Upload(*row) if row else None


async def complete(connection: Connection, tenant: str, upload_id: str, now: datetime) -> bool:
    """Mark an upload complete, also one that was abandoned; False where it was before."""
    return await connection.execute(COMPLETE, tenant, upload_id, now) == "UPDATE 1"


async def look_up(pool: Pool, tenant: str, upload: UploadCompleted) -> Known:
    """Return what the tables say before an upload is decided. Raises Transient where Postgres does not answer."""
    try:
        return await _look_up(pool, tenant, upload)
    except DATABASE_AWAY as error:
        raise Transient("postgres", f"{type(error).__name__}: {error}") from error


async def _look_up(pool: Pool, tenant: str, upload: UploadCompleted) -> Known:
    vehicle = await vehicle_table.find(pool, tenant, upload.vehicle)
    announced = [file.object.sha256 for file in upload.files]
    accepted = await pool.fetch(ACCEPTED, tenant, upload.vehicle, announced)
    state = await pool.fetchrow(STATE, tenant, upload.upload_id)
    return Known(
        public_key=vehicle.public_key if vehicle else None,
        revoked=vehicle is not None and vehicle.revoked_at is not None,
        admitted=state is not None and state["admitted"],
        accepted_sha256=frozenset(row["sha256"] for row in accepted),
        owner=state["vehicle"] if state else None,
    )


async def store(connection: Connection, changes: Sequence[Admitted]) -> None:
    """Write the fates of files and the new frames, in the transaction of their settle."""
    await fate_table.lock(connection, [(change.tenant, change.upload_id) for change in changes])
    for change in changes:
        await _admit(connection, change)
        await fate_table.publish(connection, [(change.tenant, change.upload_id)])


async def _admit(connection: Connection, change: Admitted) -> None:
    upload_key = (change.tenant, change.upload_id)
    row = (*upload_key, change.vehicle, change.drive, len(change.files), change.received_at, change.replayed)
    await connection.execute(ADMIT, *row)
    rows = [(*upload_key, file.number, file.sha256, file.fate.value, file.reason, file.detail) for file in change.files]
    await connection.executemany(ADD_FILE, rows)
    frames = [
        (file.frame_id, change.tenant, change.vehicle, change.upload_id, file.unit_id, file.sha256, change.received_at)
        for file in change.files
        if file.frame_id
    ]
    await connection.executemany(ADD_FRAME, frames)
