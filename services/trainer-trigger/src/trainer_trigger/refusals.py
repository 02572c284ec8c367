"""What trainer-trigger refuses, as errors whose text says what, where and what to do."""

from enum import StrEnum

from roadloop_runtime.service.problems import Problem
from trainer_trigger.reasons import SetReason


class Unfit(Problem):
    """A spec or an offer is refused. `reason` is one of the reasons; the text says what, where and what to do."""

    def __init__(self, reason: StrEnum, field: str, detail: str) -> None:
        super().__init__(422, reason.value, detail, more={"field": field})
        self.reason = reason
        self.field = field


class BadSet(Exception):
    """A set cannot be used: `reason` names it, the text says what, where and what to do."""

    def __init__(self, reason: SetReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class BadFolder(Exception):
    """A model folder cannot be used: the text says what is missing."""


class AlreadyReleased(Exception):
    """A model has a version already, so the next one must pass the gate."""


class NothingToRollBack(Exception):
    """There is no version to roll back to: the text says why, and what to do."""
