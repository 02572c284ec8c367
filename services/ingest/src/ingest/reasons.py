"""Why ingest refuses a file or a whole upload."""

from enum import StrEnum


class FileReason(StrEnum):
    """Why one file of an upload was not accepted."""

    FOREIGN_URI = "foreign_uri"
    OBJECT_MISSING = "object_missing"
    OBJECT_CHANGED = "object_changed"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    NOT_A_PICTURE = "not_a_picture"
    UNSUPPORTED_MEDIA = "unsupported_media"
    DUPLICATE = "duplicate"
    NEVER_COMPLETED = "never_completed"


class UploadReason(StrEnum):
    """Why a whole upload is a dead letter."""

    UNSIGNED = "unsigned"
    UNKNOWN_VEHICLE = "unknown_vehicle"
    REVOKED_VEHICLE = "revoked_vehicle"
    WRONG_SIGNATURE = "wrong_signature"
    FOREIGN_VEHICLE = "foreign_vehicle"


class SkipReason(StrEnum):
    """Why there is nothing to do."""

    ALREADY_ADMITTED = "already_admitted"
    NOT_OURS = "not_ours"
