"""What a handler can say of a record, in types."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from roadloop_runtime.records import Event


class LoopReason(StrEnum):
    """Why the loop itself gives a record up. Services add reasons of their own."""

    NOT_A_CLOUD_EVENT = "not_a_cloud_event"
    UNDECODABLE = "undecodable"
    HANDLER_FAILED = "handler_failed"
    STILL_FAILING = "still_failing"
    OUTPUT_TOO_LARGE = "output_too_large"


class Emit(NamedTuple):
    """Done. `events` go to Kafka, `changes` to Postgres, both with the input offset or not at all."""

    events: tuple[Event, ...] = ()
    changes: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing to do, and that is right."""

    reason: StrEnum


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """This record never will work: which field broke which rule, and what its sender can do."""

    reason: StrEnum
    detail: str = ""
    field: str = ""
    rule: str = ""
    remedy: str = ""


Outcome = Emit | Skip | DeadLetter


class Transient(Exception):
    """Raised in `observe` only: it may work later. `dependency` names whose canary to ask.

    One that says itself that it is `busy` is not asked: that is an outage, and no record's fault.
    """

    def __init__(self, dependency: str, detail: str, *, busy: bool = False) -> None:
        super().__init__(f"{dependency}: {detail}")
        self.busy = busy
        self.dependency = dependency
        self.detail = detail


class Undecodable(Exception):
    """Raised in `decode` only: the record is not what its topic promises."""

    def __init__(self, dead_letter: DeadLetter) -> None:
        super().__init__(dead_letter.detail)
        self.dead_letter = dead_letter
