"""What became of a frame: read from the verdicts, their dead letters, the labels and the trainings. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ingest.reasons import SkipReason
from roadloop_runtime.deadletter import explain
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import Emit, Outcome, Skip
from roadloop_runtime.records import Record
from roadloop_schemas.frames import FrameScreened, FramesIngested
from roadloop_schemas.labels import LabelCompleted
from roadloop_schemas.models import TrainingChanged, TrainingState


@dataclass(frozen=True, slots=True)
class FrameFate:
    """One frame, or all frames of one unit, got a fate. A frame in flight takes the first; `labelled` comes on top."""

    fate: str
    reason: str = ""
    frame_id: str | None = None
    unit_id: str | None = None


@dataclass(frozen=True, slots=True)
class FramesTrained:
    """Frames went into a dataset that was trained on."""

    frame_ids: Sequence[str]


def of_verdict(memory: None, verdict: Received[FrameScreened], _policy: None) -> tuple[None, Outcome]:
    """A verdict is a frame's fate."""
    body = verdict.body
    return memory, Emit(changes=(FrameFate(body.verdict.value, body.reasons[0].value, frame_id=body.frame_id),))


def of_label(memory: None, label: Received[LabelCompleted], _policy: None) -> tuple[None, Outcome]:
    """A label comes on top of the verdict."""
    return memory, Emit(changes=(FrameFate("labelled", frame_id=label.body.frame_id),))


def of_training(memory: None, training: Received[TrainingChanged], _policy: None) -> tuple[None, Outcome]:
    """A run names its frames once, when it is queued."""
    if training.body.state is not TrainingState.QUEUED or not training.body.frame_ids:
        return memory, Skip(SkipReason.NOT_OURS)
    return memory, Emit(changes=(FramesTrained(training.body.frame_ids),))


def of_dead_letter(memory: None, letter: Record, _policy: None) -> tuple[None, Outcome]:
    """A unit that screening gave up counts for all its frames; one that is not ours counts for none."""
    try:
        unit = FramesIngested.model_validate_json(letter.value or b"")
    except ValidationError:
        return memory, Skip(SkipReason.NOT_OURS)
    reason = explain(tuple(letter.headers)).get("reason", "unknown")
    return memory, Emit(changes=(FrameFate("dead_lettered", reason, unit_id=unit.unit_id),))
