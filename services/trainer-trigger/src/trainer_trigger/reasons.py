"""Why a label can never be trained on."""

from enum import StrEnum


class LabelReason(StrEnum):
    """Why a label is a dead letter."""

    NO_TENANT = "no_tenant"
    FOREIGN_BUCKET = "foreign_bucket"
