"""The story of an upload: is it signed, whole, safe and new? Which frames are in it?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import immutables

from ingest.measure import Measured, Refused
from ingest.reasons import FileReason, SkipReason, UploadReason
from ingest.signature import OWN_KEY_ID, BadSignature, claimed_key, key_id, verify
from roadloop_runtime.decode import Received
from roadloop_runtime.objects import ObjectChanged, ObjectMissing
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome, Skip
from roadloop_runtime.records import Event, event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import FramesIngested, IngestedFrame
from roadloop_schemas.uploads import FileFate, UploadCompleted, UploadedFile

FRAMES_PER_UNIT = 16
FILES_AT_ONCE = 8
REMEMBERED = 100_000

Fetch = Callable[[ObjectRef], Awaitable[bytes]]
Measure = Callable[[bytes], Awaitable[Measured | Refused]]


@dataclass(frozen=True, slots=True)
class Known:
    """What the tables say of an upload: the vehicle's key, and which pictures of it were accepted before."""

    public_key: str | None
    revoked: bool
    admitted: bool
    accepted_sha256: frozenset[str]


LookUp = Callable[[str, UploadCompleted], Awaitable[Known]]


@dataclass(frozen=True, slots=True)
class Seen:
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
) -> Seen:
    """Look up the vehicle, check the signature, then fetch and measure every file, some at once."""
    known = await look_up(upload.envelope.tenant, upload.body)
    if refused := check_sender(upload, known, own_key):
        return Seen(upload, known, refused=refused)
    if known.admitted:
        return Seen(upload, known)
    seats = asyncio.Semaphore(FILES_AT_ONCE)
    prefix = f"s3://{bucket}/{upload.envelope.tenant}/{upload.body.vehicle}/"

    async def look(file: UploadedFile) -> Measured | Refused:
        if refused := check_announcement(file, prefix, max_file_bytes):
            return refused
        async with seats:
            return await _look_at(file, fetch, measure)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(look(file)) for file in upload.body.files]
    return Seen(upload, known, tuple(task.result() for task in tasks))


def check_sender(upload: Received[UploadCompleted], known: Known, own_key: str) -> DeadLetter | None:
    """Say why this event is not by the vehicle it speaks of, if so."""
    tenant, vehicle = upload.envelope.tenant, upload.body.vehicle
    jws = dict(upload.record.headers).get("jws")
    if not jws:
        return _refuse(UploadReason.UNSIGNED, "the header jws is missing", "sign the event with the vehicle's key")
    try:
        signer = claimed_key(jws)
        if signer not in (OWN_KEY_ID, key_id(tenant, vehicle)):
            said = f"signed by {signer[:200]}, but it speaks of {key_id(tenant, vehicle)}"
            return _refuse(UploadReason.FOREIGN_VEHICLE, said, "a vehicle completes its own uploads only")
        if known.public_key is None:
            said = f"{key_id(tenant, vehicle)} is not enrolled"
            return _refuse(UploadReason.UNKNOWN_VEHICLE, said, "enrol it: roadloop vehicles enrol")
        if known.revoked:
            said = f"the key of {key_id(tenant, vehicle)} was revoked"
            return _refuse(UploadReason.REVOKED_VEHICLE, said, "enrol it anew")
        key = own_key if signer == OWN_KEY_ID else known.public_key
        verify(jws, upload.envelope.id, tenant, upload.record.value or b"", key=key, key_id=signer)
    except BadSignature as error:
        return _refuse(UploadReason.WRONG_SIGNATURE, str(error), "sign id, tenant and value exactly as they are sent")
    return None


def _refuse(reason: UploadReason, detail: str, remedy: str) -> DeadLetter:
    return DeadLetter(reason, detail, "jws", "an upload is signed by an enrolled vehicle, with its own key", remedy)


def check_announcement(file: UploadedFile, prefix: str, max_file_bytes: int) -> Refused | None:
    """Refuse what must not even be fetched."""
    if not file.object.uri.startswith(prefix) or "/../" in file.object.uri:
        return Refused(FileReason.FOREIGN_URI, f"{file.object.uri[:200]} is not under {prefix}")
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


def decide(memory: Memory, seen: Seen, _policy: None) -> tuple[Memory, Outcome]:
    """Accept each file that is whole, safe and new; announce the accepted ones in units."""
    if seen.refused is not None:
        return memory, seen.refused
    if seen.known.admitted or seen.upload.body.upload_id in memory:
        return memory, Skip(SkipReason.ALREADY_ADMITTED)
    files = _admit(memory, seen)
    accepted = [file for file in files if file.fate is FileFate.ACCEPTED]
    memory = _remember(memory, [seen.upload.body.upload_id, *(_picture(seen, file.sha256) for file in accepted)])
    return memory, Emit(tuple(_units(seen, files)), (_admitted(seen, files),))


def _picture(seen: Seen, sha256: str) -> str:
    """Pictures are new per vehicle: two cars that see the same are rare, and both are asked to send it."""
    return f"{seen.upload.envelope.tenant}/{seen.upload.body.vehicle}/{sha256}"


def _admit(memory: Mapping[str, int], seen: Seen) -> list[AdmittedFile]:
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


def _accept(seen: Seen, number: int, sha256: str, unit: int) -> AdmittedFile:
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


def _units(seen: Seen, files: Sequence[AdmittedFile]) -> list[Event]:
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
        dhash=found.dhash,
        laplacian_variance=found.laplacian_variance,
        brightness=found.brightness,
    )


def _unit(seen: Seen, unit_id: str, frames: Sequence[IngestedFrame]) -> Event:
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
    return event(
        "frames.ingested.v1",
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


def _admitted(seen: Seen, files: Sequence[AdmittedFile]) -> Admitted:
    body = seen.upload.body
    return Admitted(
        seen.upload.envelope.tenant, body.upload_id, body.vehicle, body.drive, received(seen.upload), tuple(files)
    )
