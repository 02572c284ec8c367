"""The story of an upload: is it signed, whole, safe and new? Which frames are in it?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import immutables

from ingest.measure import Measured, Refused
from ingest.reasons import FileReason, SkipReason
from ingest.sender import Known, check_sender, refuse_unknown_vehicle
from ingest.signature import OWN_KEY_ID, read_claimed_key
from roadloop_runtime.decode import Received
from roadloop_runtime.gather import gather_bounded
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome, Skip
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import ObjectRef, is_tenant
from roadloop_schemas.frames import FramesIngested, IngestedFrame
from roadloop_schemas.topics import FRAMES_INGESTED
from roadloop_schemas.uploads import FileFate, UploadCompleted, UploadedFile

FRAMES_PER_UNIT = 16
FILES_AT_ONCE = 8
REMEMBERED = 100_000
NOTHING_KNOWN = Known(None, False, False, frozenset())

Fetch = Callable[[ObjectRef], Awaitable[bytes]]
Measure = Callable[[bytes], Awaitable[Measured | Refused]]


LookUp = Callable[[str, UploadCompleted], Awaitable[Known]]


@dataclass(frozen=True, slots=True)
class Observation:
    """An upload with everything that had to be looked up. `refused` is set where it must not be taken at all."""

    upload: Received[UploadCompleted]
    known: Known
    files: tuple[Measured | Refused, ...] = ()
    refused: DeadLetter | None = None


@dataclass(frozen=True, slots=True)
class AdmittedFile:
    """The fate of one file; `frame_id` and `unit_id` only where it was accepted."""

    number: int
    sha256: str
    fate: FileFate
    reason: str = ""
    detail: str = ""
    frame_id: str | None = None
    unit_id: str | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """The change an upload makes in the tables."""

    tenant: str
    upload_id: str
    vehicle: str
    drive: str
    received_at: datetime
    files: tuple[AdmittedFile, ...]
    replayed: bool = False


# Pictures accepted from this partition since its take-over, newest last: what the tables may not show yet.
Memory = immutables.Map[str, int]


async def observe(
    upload: Received[UploadCompleted],
    *,
    own_key: str,
    bucket: str,
    max_file_bytes: int,
    look_up: LookUp,
    fetch: Fetch,
    measure: Measure,
) -> Observation:
    """Look up the vehicle, check the signature, then fetch and measure every file, some at once."""
    if not is_tenant(upload.envelope.tenant):
        unknown = refuse_unknown_vehicle(upload.envelope.tenant, upload.body.vehicle)
        return Observation(upload, NOTHING_KNOWN, refused=unknown)
    known = await look_up(upload.envelope.tenant, upload.body)
    if dead_letter := check_sender(upload, known, own_key):
        return Observation(upload, known, refused=dead_letter)
    if known.admitted:
        return Observation(upload, known)
    prefix = f"s3://{bucket}/{upload.envelope.tenant}/{upload.body.vehicle}/"

    async def look(file: UploadedFile) -> Measured | Refused:
        if refusal := check_announcement(file, prefix, max_file_bytes):
            return refusal
        return await _look_at(file, fetch, measure)

    files = await gather_bounded(look, upload.body.files, asyncio.Semaphore(FILES_AT_ONCE))
    return Observation(upload, known, files)


def check_announcement(file: UploadedFile, prefix: str, max_file_bytes: int) -> Refused | None:
    """Refuse what must not even be fetched. The object's name is plain: no control characters, no `.` or `..`."""
    uri = file.object.uri
    if not uri.startswith(prefix) or not uri.isprintable() or {".", ".."} & set(uri.split("/")):
        return Refused(FileReason.FOREIGN_URI, f"{uri[:200]!a} is not under {prefix}")
    if file.object.size_bytes > max_file_bytes:
        return Refused(FileReason.TOO_LARGE, f"{file.object.size_bytes} bytes, at most {max_file_bytes} are taken")
    if file.media_type not in ("image/jpeg", "image/png"):
        return Refused(FileReason.UNSUPPORTED_MEDIA, f"{file.media_type}: send image/jpeg or image/png")
    return None


async def _look_at(file: UploadedFile, fetch: Fetch, measure: Measure) -> Measured | Refused:
    try:
        return await measure(await fetch(file.object))
    except ObjectMissing as error:
        return Refused(FileReason.OBJECT_MISSING, str(error))
    except ObjectChanged as error:
        return Refused(FileReason.OBJECT_CHANGED, str(error))


def decide(memory: Memory, observation: Observation, _policy: None) -> tuple[Memory, Outcome]:
    """Accept each file that is whole, safe and new; announce the accepted ones in units."""
    if observation.refused is not None:
        return memory, observation.refused
    if observation.known.admitted or _name_upload(observation) in memory:
        return memory, Skip(SkipReason.ALREADY_ADMITTED)
    files = _admit(memory, observation)
    accepted = [file for file in files if file.fate is FileFate.ACCEPTED]
    memory = _remember(
        memory, [_name_upload(observation), *(_name_picture(observation, file.sha256) for file in accepted)]
    )
    return memory, Emit(tuple(_build_events(observation, files)), (_to_admitted(observation, files),))


def _name_upload(observation: Observation) -> str:
    """Upload ids are chosen by vehicles and unique in a tenant only."""
    return f"{observation.upload.envelope.tenant}/{observation.upload.body.upload_id}"


def _name_picture(observation: Observation, sha256: str) -> str:
    """Pictures are new per vehicle: two cars that see the same are rare, and both are asked to send it."""
    return f"{observation.upload.envelope.tenant}/{observation.upload.body.vehicle}/{sha256}"


def _admit(memory: Mapping[str, int], observation: Observation) -> list[AdmittedFile]:
    fresh: set[str] = set()
    files: list[AdmittedFile] = []
    for number, (file, measurement) in enumerate(zip(observation.upload.body.files, observation.files, strict=True)):
        sha256 = file.object.sha256
        if isinstance(measurement, Refused):
            files.append(AdmittedFile(number, sha256, FileFate.REJECTED, measurement.reason.value, measurement.detail))
        elif (
            sha256 in fresh
            or sha256 in observation.known.accepted_sha256
            or _name_picture(observation, sha256) in memory
        ):
            files.append(AdmittedFile(number, sha256, FileFate.DUPLICATE, FileReason.DUPLICATE.value))
        else:
            unit = len(fresh) // FRAMES_PER_UNIT
            fresh.add(sha256)
            files.append(_accept(observation, number, sha256, unit))
    return files


def _accept(observation: Observation, number: int, sha256: str, unit: int) -> AdmittedFile:
    tenant, body = observation.upload.envelope.tenant, observation.upload.body
    frame_id = derive_id("frame", tenant, body.vehicle, sha256)
    unit_id = derive_id("unit", tenant, body.upload_id, unit)
    return AdmittedFile(number, sha256, FileFate.ACCEPTED, frame_id=frame_id, unit_id=unit_id)


def _remember(memory: Memory, entries: Sequence[str]) -> Memory:
    """Remember the newest entries only: older ones are in the tables by now, for far fewer are ever in flight."""
    with memory.mutate() as mutation:
        for entry in entries:
            mutation[entry] = len(mutation)
        memory = mutation.finish()
    return memory if len(memory) <= REMEMBERED else immutables.Map((entry, n) for n, entry in enumerate(entries))


def _build_events(observation: Observation, files: Sequence[AdmittedFile]) -> list[Event]:
    units: dict[str, list[IngestedFrame]] = {}
    for file, measurement in zip(files, observation.files, strict=True):
        if file.unit_id is not None and isinstance(measurement, Measured):
            units.setdefault(file.unit_id, []).append(
                _build_frame(observation.upload.body.files[file.number], file, measurement)
            )
    return [_build_event(observation, unit_id, frames) for unit_id, frames in units.items()]


def _build_frame(file: UploadedFile, admitted: AdmittedFile, measurement: Measured) -> IngestedFrame:
    return IngestedFrame(
        frame_id=admitted.frame_id or "",
        object=file.object,
        width_px=measurement.width_px,
        height_px=measurement.height_px,
        captured_at=file.captured_at,
        camera=file.camera,
        condition=file.condition,
        signals=file.signals,
        dhash=measurement.dhash,
        laplacian_variance=measurement.laplacian_variance,
        brightness=measurement.brightness,
    )


def _build_event(observation: Observation, unit_id: str, frames: Sequence[IngestedFrame]) -> Event:
    envelope, body = observation.upload.envelope, observation.upload.body
    received_at = read_received_at(observation.upload)
    unit = FramesIngested(
        unit_id=unit_id,
        upload_id=body.upload_id,
        vehicle=body.vehicle,
        drive=body.drive,
        received_at=received_at,
        frames=tuple(frames),
    )
    return to_cloud_event(
        FRAMES_INGESTED,
        unit,
        id=derive_id(envelope.source, envelope.id, unit_id),
        source="/roadloop/ingest",
        tenant=envelope.tenant,
        key=body.vehicle,
        time=received_at,
        subject=body.upload_id,
    )


def read_received_at(upload: Received[UploadCompleted]) -> datetime:
    """Return when the upload arrived: as ingest stamped it, or when an agent's own record was written."""
    is_stamped = read_claimed_key(dict(upload.record.headers)["jws"]) == OWN_KEY_ID
    return upload.body.received_at if is_stamped and upload.body.received_at else upload.written_at


def _to_admitted(observation: Observation, files: Sequence[AdmittedFile]) -> Admitted:
    body = observation.upload.body
    return Admitted(
        observation.upload.envelope.tenant,
        body.upload_id,
        body.vehicle,
        body.drive,
        read_received_at(observation.upload),
        tuple(files),
        observation.upload.replayed,
    )
