"""HTTP for vehicles: announce an upload, get URLs to put its files, say that it is complete, ask for its fate."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Depends, FastAPI

from ingest import fate_table, upload_table, vehicle_table
from ingest.manifest import Manifest, to_upload_completed
from ingest.signature import OWN_KEY_ID, BadSignature, check_token, sign
from ingest.upload_table import Upload
from ingest.upload_urls import sign_upload_urls
from ingest.vehicle_table import Vehicle
from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_runtime.service.http import dependencies_of, make_http_app, read_token, unauthenticated
from roadloop_runtime.service.problems import Problem
from roadloop_runtime.storage.objects import ObjectStore
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import Id
from roadloop_schemas.topics import UPLOADS_COMPLETED
from roadloop_schemas.uploads import UploadFate

MAX_BODY_BYTES = 512 * 1024

routes = APIRouter(prefix="/v1")


@dataclass(frozen=True)
class Dependencies:
    """What the routes need. `store` signs URLs that name S3 as vehicles reach it."""

    pool: Pool
    store: ObjectStore
    bucket: str
    own_key: str
    max_file_bytes: int
    now: Callable[[], datetime]


Needs = Annotated[Dependencies, Depends(dependencies_of)]


def make_app(needs: Dependencies) -> FastAPI:
    """Make the app. Every route but the books wants a vehicle's bearer token."""
    return make_http_app("Roadloop ingest", routes, needs, max_body_bytes=MAX_BODY_BYTES)


async def authenticate(needs: Needs, token: Annotated[str, Depends(read_token)]) -> Vehicle:
    """Return the vehicle whose key made the bearer token; 401 for every kind of doubt."""
    try:
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
        if not (key_id.isascii() and key_id.isprintable()):
            raise BadSignature("its kid is not TENANT/VEHICLE")
        tenant, _, name = key_id.partition("/")
        vehicle = await vehicle_table.find(needs.pool, tenant, name)
        if vehicle is None or vehicle.revoked_at is not None:
            raise BadSignature("no vehicle with this key is enrolled")
        check_token(token, vehicle.public_key, tenant, name)
    except (BadSignature, jwt.PyJWTError, ValueError, RecursionError) as error:
        raise unauthenticated(f"{error}; make a new one: roadloop vehicles token") from error
    return vehicle


Caller = Annotated[Vehicle, Depends(authenticate)]


@routes.post("/uploads")
async def announce(manifest: Manifest, caller: Caller, needs: Needs) -> dict[str, Any]:
    """Take note of an upload, and say where its files belong."""
    check_sizes(manifest, needs.max_file_bytes)
    await _announce(needs.pool, manifest, caller, needs.now())
    return {
        "upload_id": manifest.upload_id,
        "files": sign_upload_urls(needs.store, needs.bucket, manifest, caller),
    }


@routes.post("/uploads/{upload_id}/complete")
async def complete(upload_id: Id, caller: Caller, needs: Needs) -> dict[str, Any]:
    """Publish that an announced upload is complete."""
    await _complete(needs, upload_id, caller)
    return {"upload_id": upload_id, "state": "completed"}


@routes.get("/uploads/{upload_id}")
async def fate(upload_id: Id, caller: Caller, needs: Needs) -> UploadFate:
    """Say what became of an upload's files and frames."""
    await _own(needs.pool, upload_id, caller)
    counted = await fate_table.read(needs.pool, caller.tenant, upload_id)
    if counted is None:
        raise unknown_upload(upload_id, caller)
    return counted


@routes.get("/books")
async def books(needs: Needs) -> dict[str, Any]:
    """Sum both books."""
    total = await fate_table.sum_books(needs.pool)
    return asdict(total) | {"balanced": total.balanced}


def check_sizes(manifest: Manifest, max_file_bytes: int) -> None:
    for number, file in enumerate(manifest.files):
        if file.size_bytes > max_file_bytes:
            detail = f"file {number} has {file.size_bytes} bytes, at most {max_file_bytes} are taken: send it smaller"
            raise Problem(422, "file-too-large", detail)


async def _announce(pool: Pool, manifest: Manifest, caller: Vehicle, received_at: datetime) -> None:
    """Store the announcement; the same one again is the same upload, another one under its id is refused."""
    upload = Upload(caller.vehicle, manifest.drive, manifest.model_dump_json(), None)
    async with pool.acquire() as connection:
        count = len(manifest.files)
        if await upload_table.announce(
            connection, caller.tenant, upload, manifest.upload_id, files=count, now=received_at
        ):
            return
        announced = await upload_table.find(connection, caller.tenant, manifest.upload_id)
    if announced is None or announced.vehicle != caller.vehicle or not announced.is_of(manifest):
        detail = f"upload {manifest.upload_id} was announced with other files: choose a new upload_id"
        raise Problem(409, "upload-id-taken", detail)


async def _own(pool: Pool, upload_id: str, caller: Vehicle) -> Upload:
    upload = await upload_table.find(pool, caller.tenant, upload_id)
    if upload is None or upload.vehicle != caller.vehicle:
        raise unknown_upload(upload_id, caller)
    return upload


def unknown_upload(upload_id: str, caller: Vehicle) -> Problem:
    return Problem(404, "upload-unknown", f"{caller.vehicle} announced no upload {upload_id}: announce it first")


async def _complete(needs: Dependencies, upload_id: str, caller: Vehicle) -> None:
    """Mark it complete and put the event into the outbox, in one transaction. Again is fine and does nothing."""
    completed_at = needs.now()
    upload = await _own(needs.pool, upload_id, caller)
    if upload.manifest is None:
        raise Problem(409, "upload-completed", f"upload {upload_id} was completed over Kafka")
    manifest = Manifest.model_validate_json(upload.manifest)
    body = to_upload_completed(
        manifest, tenant=caller.tenant, vehicle=caller.vehicle, bucket=needs.bucket, now=completed_at
    )
    completion = to_cloud_event(
        UPLOADS_COMPLETED,
        body,
        id=derive_id("completed", caller.tenant, upload_id),
        source="/roadloop/ingest",
        tenant=caller.tenant,
        key=caller.vehicle,
        time=completed_at,
        subject=upload_id,
    )
    async with needs.pool.acquire() as connection, connection.transaction():
        if await upload_table.complete(connection, caller.tenant, upload_id, completed_at):
            await outbox_table.append(connection, [_sign(completion, needs.own_key, caller.tenant, upload_id)])


def _sign(completion: Event, own_key: str, tenant: str, upload_id: str) -> Event:
    event_id = derive_id("completed", tenant, upload_id)
    jws = sign(event_id, tenant, completion.value or b"", key=own_key, key_id=OWN_KEY_ID)
    return Event(completion.topic, completion.key, completion.value, (*completion.headers, ("jws", jws)))
