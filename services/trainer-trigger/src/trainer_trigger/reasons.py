"""Why labels, specs, offers and sets are refused."""

from enum import StrEnum


class LabelReason(StrEnum):
    """Why a label is a dead letter."""

    NO_TENANT = "no_tenant"
    FOREIGN_BUCKET = "foreign_bucket"


class SpecReason(StrEnum):
    """Why a spec or an offer fits nothing. What is wrong with a set itself is a `SetReason`."""

    UNKNOWN_MODEL = "unknown_model"
    NO_SPEC = "no_spec"
    FOREIGN_OBJECT = "foreign_object"
    OBJECT_MISSING = "object_missing"
    OBJECT_CHANGED = "object_changed"
    OBJECT_TOO_LARGE = "object_too_large"
    OTHER_CLASSES = "other_classes"
    NO_OBJECTS = "no_objects"
    VALIDATION_IN_TRAINING = "validation_in_training"
    NOTHING_SERVES = "nothing_serves"


class SetReason(StrEnum):
    """What can be wrong with a set."""

    NO_ZIP = "no_zip"
    TOO_LARGE = "too_large"
    FOREIGN_PATH = "foreign_path"
    NO_CLASSES = "no_classes"
    NO_LINES = "no_lines"
    BAD_LINE = "bad_line"
    NO_PICTURE = "no_picture"
