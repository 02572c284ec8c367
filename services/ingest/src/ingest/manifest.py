"""What a vehicle announces over HTTP, and where its files belong. Pure."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from roadloop_schemas.fields import Condition, EventBody, Id, Moment, Name, ObjectRef, Sha256
from roadloop_schemas.uploads import UploadCompleted, UploadedFile


class AnnouncedFile(EventBody):
    """One picture the vehicle wants to send."""

    sha256: Sha256
    size_bytes: int = Field(gt=0)
    media_type: str = Field(pattern=r"^image/(jpeg|png)$")
    captured_at: Moment
    camera: Name = "front"
    condition: Condition = Condition.UNKNOWN
    signals: tuple[Name, ...] = Field(default=(), max_length=8)


class Manifest(EventBody):
    """One upload of a drive: 1 to 512 pictures. The vehicle chooses `upload_id`, so that a retry is the same upload."""

    upload_id: Id
    drive: Id
    files: tuple[AnnouncedFile, ...] = Field(min_length=1, max_length=512)


def name_object(tenant: str, vehicle: str, upload_id: str, number: int, file: AnnouncedFile) -> str:
    """Name the object: under the vehicle's own prefix, unique per upload and content."""
    return f"{tenant}/{vehicle}/{upload_id}/{number:03d}-{file.sha256[:16]}"


def to_upload_completed(
    manifest: Manifest, *, tenant: str, vehicle: str, bucket: str, now: datetime
) -> UploadCompleted:
    """Turn an announced manifest into the event that says it is complete."""
    return UploadCompleted(
        upload_id=manifest.upload_id,
        vehicle=vehicle,
        drive=manifest.drive,
        files=_to_uploaded_files(manifest.files, tenant, vehicle, manifest.upload_id, bucket),
        completed_at=now,
        received_at=now,
    )


def _to_uploaded_files(
    files: Sequence[AnnouncedFile], tenant: str, vehicle: str, upload_id: str, bucket: str
) -> tuple[UploadedFile, ...]:
    return tuple(
        UploadedFile(
            object=ObjectRef(
                uri=f"s3://{bucket}/{name_object(tenant, vehicle, upload_id, number, file)}",
                sha256=file.sha256,
                size_bytes=file.size_bytes,
            ),
            captured_at=file.captured_at,
            media_type=file.media_type,
            camera=file.camera,
            condition=file.condition,
            signals=file.signals,
        )
        for number, file in enumerate(files)
    )
