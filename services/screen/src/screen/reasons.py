"""Why screening gives a whole unit up."""

from enum import StrEnum


class UnitReason(StrEnum):
    """Reasons of dead letters; a frame that cannot be judged is quarantined instead."""

    NO_MODEL = "no_model"
