"""The story of an upload: is it signed, whole, safe and new? Which frames are in it?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import immutables

from ingest.measure import Measured, Refused
from ingest.reasons import FileReason, SkipReason
from ingest.sender import Known, check_sender, unknown_vehicle
from ingest.signature import OWN_KEY_ID, claimed_key
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
        return Observation(upload, NOTHING_KNOWN, refused=unknown_vehicle(upload.envelope.tenant, upload.body.vehicle))
    known = await look_up(upload.envelope.tenant, upload.body)
    if refused := check_sender(upload, known, own_key):
        return Observation(upload, known, refused=refused)
    if known.admitted:
        return Observation(upload, known)
    prefix = f"s3://{bucket}/{upload.envelope.tenant}/{upload.body.vehicle}/"

    async def look(file: UploadedFile) -> Measured | Refused:
        if refused := check_announcement(file, prefix, max_file_bytes):
            return refused
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


def decide(memory: Memory, seen: Observation, _policy: None) -> tuple[Memory, Outcome]:
    """Accept each file that is whole, safe and new; announce the accepted ones in units."""
    if seen.refused is not None:
        return memory, seen.refused
    if seen.known.admitted or _name(seen) in memory:
        return memory, Skip(SkipReason.ALREADY_ADMITTED)
    files = _admit(memory, seen)
    accepted = [file for file in files if file.fate is FileFate.ACCEPTED]
    memory = _remember(memory, [_name(seen), *(_picture(seen, file.sha256) for file in accepted)])
    return memory, Emit(tuple(_units(seen, files)), (_admitted(seen, files),))


def _name(seen: Observation) -> str:
    """Upload ids are chosen by vehicles and unique in a tenant only."""
    return f"{seen.upload.envelope.tenant}/{seen.upload.body.upload_id}"


def _picture(seen: Observation, sha256: str) -> str:
    """Pictures are new per vehicle: two cars that see the same are rare, and both are asked to send it."""
    return f"{seen.upload.envelope.tenant}/{seen.upload.body.vehicle}/{sha256}"


def _admit(memory: Mapping[str, int], seen: Observation) -> list[AdmittedFile]:
    fresh: set[str] = set()
    files: list[AdmittedFile] = []
    for number, (file, found) in enumerate(zip(seen.upload.body.files, seen.files, strict=True)):
        sha256 = file.object.sha256
        if isinstance(found, Refused):
            files.append(AdmittedFile(number, sha256, FileFate.REJECTED, found.reason.value, found.detail))
        elif sha256 in fresh or sha256 in seen.known.accepted_sha256 or _picture(seen, sha256) in memory:
            files.append(AdmittedFile(number, sha256, FileFate.DUPLICATE, FileReason.DUPLICATE.value))
        else:
            unit = len(fresh) // FRAMES_PER_UNIT
            fresh.add(sha256)
            files.append(_accept(seen, number, sha256, unit))
    return files


def _accept(seen: Observation, number: int, sha256: str, unit: int) -> AdmittedFile:
    tenant, body = seen.upload.envelope.tenant, seen.upload.body
    frame_id = derive_id("frame", tenant, body.vehicle, sha256)
    unit_id = derive_id("unit", tenant, body.upload_id, unit)
    return AdmittedFile(number, sha256, FileFate.ACCEPTED, frame_id=frame_id, unit_id=unit_id)


def _remember(memory: Memory, entries: Sequence[str]) -> Memory:
    """Remember the newest entries only: older ones are in the tables by now, for far fewer are ever in flight."""
    with memory.mutate() as changed:
        for entry in entries:
            changed[entry] = len(changed)
        memory = changed.finish()
    return memory if len(memory) <= REMEMBERED else immutables.Map((entry, n) for n, entry in enumerate(entries))


def _units(seen: Observation, files: Sequence[AdmittedFile]) -> list[Event]:
    units: dict[str, list[IngestedFrame]] = {}
    for file, found in zip(files, seen.files, strict=True):
        if file.unit_id is not None and isinstance(found, Measured):
            units.setdefault(file.unit_id, []).append(_frame(seen.upload.body.files[file.number], file, found))
    return [_unit(seen, unit_id, frames) for unit_id, frames in units.items()]


def _frame(file: UploadedFile, admitted: AdmittedFile, found: Measured) -> IngestedFrame:
    return IngestedFrame(
        frame_id=admitted.frame_id or "",
        object=file.object,
        width_px=found.width_px,
        height_px=found.height_px,
        captured_at=file.captured_at,
        camera=file.camera,
        condition=file.condition,
        signals=file.signals,
        dhash=found.dhash,
        laplacian_variance=found.laplacian_variance,
        brightness=found.brightness,
    )


def _unit(seen: Observation, unit_id: str, frames: Sequence[IngestedFrame]) -> Event:
    envelope, body = seen.upload.envelope, seen.upload.body
    received_at = received(seen.upload)
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


def received(upload: Received[UploadCompleted]) -> datetime:
    """Return when the upload arrived: as ingest stamped it, or when an agent's own record was written."""
    stamped = claimed_key(dict(upload.record.headers)["jws"]) == OWN_KEY_ID
    return upload.body.received_at if stamped and upload.body.received_at else upload.written_at


def _admitted(seen: Observation, files: Sequence[AdmittedFile]) -> Admitted:
    body = seen.upload.body
    return Admitted(
        seen.upload.envelope.tenant,
        body.upload_id,
        body.vehicle,
        body.drive,
        received(seen.upload),
        tuple(files),
        seen.upload.replayed,
    )
