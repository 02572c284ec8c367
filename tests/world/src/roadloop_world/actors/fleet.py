"""Simulated vehicles: they drive, take pictures, and upload them over HTTP or complete them on Kafka themselves."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
from aiokafka import AIOKafkaProducer

from ingest import vehicle_table
from ingest.signature import make_key, make_token, sign, to_key_id
from roadloop_agent import Picture, put_pictures, upload
from roadloop_schemas.cloudevents import Attributes, derive_id, rfc3339, to_headers
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.uploads import UploadCompleted, UploadedFile
from roadloop_world.rendering.datasets import DrivePlan
from roadloop_world.rendering.drives import Frame, TruthBox, encode_jpeg, render_drive

START = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One enrolled vehicle with its private key."""

    tenant: str
    name: str
    private_key: str

    def token(self) -> str:
        return make_token(self.tenant, self.name, self.private_key, datetime.now(UTC))


@dataclass
class Truth:
    """What really is on every frame the fleet took, by frame id."""

    frames: dict[str, Frame] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def boxes(self, frame_id: str) -> tuple[TruthBox, ...]:
        return self.frames[frame_id].boxes

    def note(self, vehicle: Vehicle, frame: Frame, picture: bytes) -> None:
        self.frames[derive_frame_id(vehicle, picture)] = frame
        self.pictures[derive_frame_id(vehicle, picture)] = picture


def derive_frame_id(vehicle: Vehicle, picture: bytes) -> str:
    """Return the id ingest gives a vehicle's picture."""
    return derive_id("frame", vehicle.tenant, vehicle.name, hashlib.sha256(picture).hexdigest())


async def enrol(dsn: str, tenant: str, names: Iterable[str]) -> list[Vehicle]:
    """Enrol vehicles anew; those enrolled before get fresh keys."""
    connection = await asyncpg.connect(dsn)
    vehicles = []
    for name in names:
        private, public = make_key()
        await vehicle_table.revoke(connection, tenant, name)
        await vehicle_table.enrol(connection, tenant, name, public)
        vehicles.append(Vehicle(tenant, name, private))
    await connection.close()
    return vehicles


def take_pictures(vehicle: Vehicle, plan: DrivePlan, frames: int, truth: Truth) -> list[Picture]:
    """Drive once and return what the camera took."""
    started_at = START + timedelta(minutes=plan.seed % 500_000)
    pictures = []
    for frame in render_drive(plan.seed, frames, plan.condition):
        picture = encode_jpeg(frame)
        truth.note(vehicle, frame, picture)
        captured_at = started_at + timedelta(seconds=frame.offset_s)
        pictures.append(Picture(picture, captured_at, plan.condition.value))
    return pictures


async def upload_drive(
    client: httpx.AsyncClient, vehicle: Vehicle, plan: DrivePlan, pictures: Sequence[Picture]
) -> str:
    """Upload a drive over HTTP; return its upload id."""
    upload_id = f"{vehicle.name}-{plan.seed}"
    await upload(client, vehicle.token(), upload_id, f"drive-{plan.seed}", pictures)
    return upload_id


async def upload_drive_by_kafka(
    client: httpx.AsyncClient,
    producer: AIOKafkaProducer,
    vehicle: Vehicle,
    plan: DrivePlan,
    pictures: Sequence[Picture],
) -> str:
    """Put a drive's pictures, and write the signed completion to Kafka as an agent of its own does."""
    upload_id = f"{vehicle.name}-{plan.seed}"
    uris = await put_pictures(client, vehicle.token(), upload_id, f"drive-{plan.seed}", pictures)
    value, headers = sign_completion(vehicle, upload_id, f"drive-{plan.seed}", uris, pictures)
    await producer.send_and_wait("uploads.completed.v1", value, vehicle.name.encode(), headers=headers)
    return upload_id


def sign_completion(
    vehicle: Vehicle, upload_id: str, drive_id: str, uris: Sequence[str], pictures: Sequence[Picture]
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return value and headers of a signed uploads.completed.v1 event."""
    now = datetime.now(UTC)
    body = UploadCompleted(
        upload_id=upload_id,
        vehicle=vehicle.name,
        drive=drive_id,
        completed_at=now,
        files=tuple(_to_uploaded_file(uri, picture) for uri, picture in zip(uris, pictures, strict=True)),
    )
    value = body.model_dump_json().encode()
    event_id = derive_id("agent", vehicle.name, upload_id)
    source = f"/vehicles/{vehicle.name}"
    attributes = Attributes(event_id, source, "roadloop.uploads.completed.v1", vehicle.tenant, rfc3339(now))
    signer = to_key_id(vehicle.tenant, vehicle.name)
    jws = sign(event_id, vehicle.tenant, value, key=vehicle.private_key, key_id=signer)
    return value, [*to_headers(attributes), ("jws", jws)]


def _to_uploaded_file(uri: str, picture: Picture) -> UploadedFile:
    sha256 = hashlib.sha256(picture.content).hexdigest()
    return UploadedFile.model_validate(
        {
            "object": ObjectRef(uri=uri, sha256=sha256, size_bytes=len(picture.content)),
            "captured_at": picture.captured_at,
            "media_type": picture.media_type,
            "camera": picture.camera,
            "condition": picture.condition,
        }
    )
