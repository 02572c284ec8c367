"""Uploads: what a vehicle announces, and what became of it."""

from enum import StrEnum

from pydantic import Field

from roadloop_schemas.fields import Condition, Count, EventBody, Id, Moment, Name, ObjectRef


class UploadedFile(EventBody):
    """One picture of an upload, with what the vehicle knew when it took it; `signals` are events such as hard_brake."""

    object: ObjectRef
    captured_at: Moment
    media_type: str = Field(pattern=r"^(image|video)/[a-z0-9.+-]{1,40}$")
    camera: Name = "front"
    condition: Condition = Condition.UNKNOWN
    signals: tuple[Name, ...] = Field(default=(), max_length=8)


class UploadCompleted(EventBody):
    """A vehicle says: all files of this upload are in the bucket.

    At most 512 files. `received_at` is stamped by ingest and absent where an agent writes the event itself.
    """

    upload_id: Id
    vehicle: Id
    drive: Id
    files: tuple[UploadedFile, ...] = Field(min_length=1, max_length=512)
    completed_at: Moment
    received_at: Moment | None = None


class FileFate(StrEnum):
    """What became of one announced file."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    ABANDONED = "abandoned"
    OPEN = "open"


class UploadFate(EventBody):
    """Running counters of one upload: the newest event of an upload holds all that is known of it.

    Files: announced = accepted + duplicate + rejected + abandoned + open.
    Frames: ingested = kept + dropped + quarantined + dead_lettered + in_flight.
    `replayed_files` and `replayed` are those of the files and frames that came back from a dead letter.
    """

    upload_id: Id
    vehicle: Id
    revision: Count
    received_at: Moment
    announced: Count
    accepted: Count = 0
    duplicate: Count = 0
    rejected: Count = 0
    abandoned: Count = 0
    open: Count = 0
    reasons: dict[str, Count] = Field(default_factory=dict)
    ingested: Count = 0
    kept: Count = 0
    dropped: Count = 0
    quarantined: Count = 0
    dead_lettered: Count = 0
    in_flight: Count = 0
    labelled: Count = 0
    trained: Count = 0
    replayed_files: Count = 0
    replayed: Count = 0
