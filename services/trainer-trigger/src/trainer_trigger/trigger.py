"""Decide whether it is time to train."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from roadloop_schemas.models import TrainingState
from trainer_trigger.tables.spec import Spec

COOLS_DOWN_AFTER = (TrainingState.RELEASED, TrainingState.REFUSED, TrainingState.FAILED)
MAX_ATTEMPTS = 3  # on the very same data


class WaitReason(StrEnum):
    """Why there is no run yet."""

    NOTHING_SERVES = "nothing_serves"
    RELEASE_UNANSWERED = "release_unanswered"
    RUN_OPEN = "run_open"
    TOO_FEW_LABELS = "too_few_labels"
    COOLING_DOWN = "cooling_down"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model. `new_labels` are not in the dataset of the last run that did not fail."""

    now: datetime
    serving_version: int | None
    unanswered_release: int | None = None
    open_run: str | None = None
    new_labels: int = 0
    last_ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StartRun:
    """Train on what there is, from this version on."""

    base_version: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet."""

    reason: WaitReason
    detail: str = ""


def is_time(facts: Facts, spec: Spec) -> StartRun | Wait:
    """Say whether to train now: something serves, nothing is under way, enough is new, and the last run cooled down."""
    if facts.serving_version is None:
        return Wait(WaitReason.NOTHING_SERVES)
    if facts.unanswered_release is not None:
        return Wait(WaitReason.RELEASE_UNANSWERED, f"version {facts.unanswered_release}")
    if facts.open_run is not None:
        return Wait(WaitReason.RUN_OPEN, facts.open_run)
    if facts.new_labels < spec.min_labels:
        return Wait(WaitReason.TOO_FEW_LABELS, f"{facts.new_labels} of {spec.min_labels}")
    if facts.last_ended_at is not None:
        left_s = spec.cooldown_s - (facts.now - facts.last_ended_at).total_seconds()
        if left_s > 0:
            return Wait(WaitReason.COOLING_DOWN, f"{left_s:.0f} s left")
    return StartRun(facts.serving_version)


def attempt_of(failed_runs: int) -> int | None:
    """Return the number of the next attempt on the very same data, from 0; None after the last."""
    return failed_runs if failed_runs < MAX_ATTEMPTS else None
