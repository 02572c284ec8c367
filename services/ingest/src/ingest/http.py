"""HTTP for vehicles: announce an upload, get URLs to put its files, say that it is complete, ask for its fate."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, Header

from ingest import fate_table, upload_table, vehicle_table
from ingest.manifest import Manifest, completed, object_key
from ingest.signature import OWN_KEY_ID, BadSignature, check_token, sign
from ingest.upload_table import Upload
from ingest.vehicle_table import Vehicle
from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.records import Event, event
from roadloop_runtime.service.problem_responses import answer_with_problems
from roadloop_runtime.service.problems import Problem
from roadloop_runtime.storage.objects import ObjectStore
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import Id
from roadloop_schemas.topics import UPLOADS_COMPLETED
from roadloop_schemas.uploads import UploadFate

URL_LIFETIME = timedelta(minutes=30)
MAX_BODY_BYTES = 512 * 1024
COUNTED = """
select vehicle, revision, received_at, announced, admitted_at is not null as admitted, whole_fate, whole_reason,
    replayed
from uploads where tenant = $1 and upload_id = $2
"""


def now() -> datetime:
    return datetime.now(UTC)


def make_app(
    pool: Pool,
    store: ObjectStore,
    *,
    bucket: str,
    own_key: str,
    max_file_bytes: int,
    clock: Callable[[], datetime] = now,
) -> FastAPI:
    """Make the app. Every route but the books wants a vehicle's bearer token."""
    app = FastAPI(title="Roadloop ingest", docs_url=None, redoc_url=None)
    answer_with_problems(app, max_body_bytes=MAX_BODY_BYTES)

    async def vehicle_of(authorization: Annotated[str, Header()] = "") -> Vehicle:
        return await authenticate(pool, authorization)

    Caller = Annotated[Vehicle, Depends(vehicle_of)]

    @app.post("/v1/uploads")
    async def announce(manifest: Manifest, caller: Caller) -> dict[str, Any]:
        check_sizes(manifest, max_file_bytes)
        await _announce(pool, manifest, caller, clock())
        return {"upload_id": manifest.upload_id, "files": _urls(store, bucket, manifest, caller)}

    @app.post("/v1/uploads/{upload_id}/complete")
    async def complete(upload_id: Id, caller: Caller) -> dict[str, Any]:
        await _complete(pool, upload_id, caller, bucket=bucket, own_key=own_key, completed_at=clock())
        return {"upload_id": upload_id, "state": "completed"}

    @app.get("/v1/uploads/{upload_id}")
    async def fate(upload_id: Id, caller: Caller) -> UploadFate:
        return await _fate(pool, upload_id, caller)

    @app.get("/v1/books")
    async def books() -> dict[str, Any]:
        total = await fate_table.books(pool)
        return asdict(total) | {"balanced": total.balanced}

    return app


async def authenticate(pool: Pool, authorization: str) -> Vehicle:
    """Return the vehicle whose key made the bearer token; 401 for every kind of doubt."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(401, "token-missing", "send Authorization: Bearer with a token by the vehicle's key")
    try:
        named = str(jwt.get_unverified_header(token).get("kid", ""))
        if not (named.isascii() and named.isprintable()):
            raise BadSignature("its kid is not TENANT/VEHICLE")
        tenant, _, name = named.partition("/")
        vehicle = await vehicle_table.find(pool, tenant, name)
        if vehicle is None or vehicle.revoked_at is not None:
            raise BadSignature("no vehicle with this key is enrolled")
        check_token(token, vehicle.public_key, tenant, name)
    except (BadSignature, jwt.PyJWTError, ValueError, RecursionError) as error:
        raise Problem(401, "token-refused", f"{error}; make a new one: roadloop vehicles token") from error
    return vehicle


def check_sizes(manifest: Manifest, max_file_bytes: int) -> None:
    for number, file in enumerate(manifest.files):
        if file.size_bytes > max_file_bytes:
            said = f"file {number} has {file.size_bytes} bytes, at most {max_file_bytes} are taken: send it smaller"
            raise Problem(422, "file-too-large", said)


async def _announce(pool: Pool, manifest: Manifest, caller: Vehicle, received_at: datetime) -> None:
    """Store the announcement; the same one again is the same upload, another one under its id is refused."""
    upload = Upload(caller.vehicle, manifest.drive, manifest.model_dump_json(), None)
    async with pool.acquire() as connection:
        count = len(manifest.files)
        if await upload_table.announce(
            connection, caller.tenant, upload, manifest.upload_id, files=count, now=received_at
        ):
            return
        before = await upload_table.find(connection, caller.tenant, manifest.upload_id)
    if before is None or before.vehicle != caller.vehicle or not before.is_of(manifest):
        said = f"upload {manifest.upload_id} was announced with other files: choose a new upload_id"
        raise Problem(409, "upload-id-taken", said)


def _urls(store: ObjectStore, bucket: str, manifest: Manifest, caller: Vehicle) -> list[dict[str, Any]]:
    keys = [
        object_key(caller.tenant, caller.vehicle, manifest.upload_id, number, file)
        for number, file in enumerate(manifest.files)
    ]
    return [
        {"number": number, "uri": f"s3://{bucket}/{key}", "put_url": store.presign_put(bucket, key, URL_LIFETIME)}
        for number, key in enumerate(keys)
    ]


async def _own(pool: Pool, upload_id: str, caller: Vehicle) -> Upload:
    upload = await upload_table.find(pool, caller.tenant, upload_id)
    if upload is None or upload.vehicle != caller.vehicle:
        raise Problem(404, "upload-unknown", f"{caller.vehicle} announced no upload {upload_id}: announce it first")
    return upload


async def _complete(
    pool: Pool, upload_id: str, caller: Vehicle, *, bucket: str, own_key: str, completed_at: datetime
) -> None:
    """Mark it complete and put the event into the outbox, in one transaction. Again is fine and does nothing."""
    upload = await _own(pool, upload_id, caller)
    if upload.manifest is None:
        raise Problem(409, "upload-completed", f"upload {upload_id} was completed over Kafka")
    manifest = Manifest.model_validate_json(upload.manifest)
    body = completed(manifest, tenant=caller.tenant, vehicle=caller.vehicle, bucket=bucket, now=completed_at)
    said = event(
        UPLOADS_COMPLETED,
        body,
        id=derive_id("completed", caller.tenant, upload_id),
        source="/roadloop/ingest",
        tenant=caller.tenant,
        key=caller.vehicle,
        time=completed_at,
        subject=upload_id,
    )
    async with pool.acquire() as connection, connection.transaction():
        if await upload_table.complete(connection, caller.tenant, upload_id, completed_at):
            await outbox_table.append(connection, [_signed(said, own_key, caller.tenant, upload_id)])


def _signed(said: Event, own_key: str, tenant: str, upload_id: str) -> Event:
    event_id = derive_id("completed", tenant, upload_id)
    jws = sign(event_id, tenant, said.value or b"", key=own_key, key_id=OWN_KEY_ID)
    return Event(said.topic, said.key, said.value, (*said.headers, ("jws", jws)))


async def _fate(pool: Pool, upload_id: str, caller: Vehicle) -> UploadFate:
    await _own(pool, upload_id, caller)
    upload = await pool.fetchrow(COUNTED, caller.tenant, upload_id)
    return await fate_table.read(pool, caller.tenant, upload_id, dict(upload) if upload else {})
