"""Why a verdict becomes no task."""

from enum import StrEnum


class SkipReason(StrEnum):
    """Why a verdict asks nobody."""

    DROPPED = "dropped"
    QUARANTINED = "quarantined"


class TaskReason(StrEnum):
    """Why no task can ever be made of a verdict."""

    BAD_TENANT = "bad_tenant"
