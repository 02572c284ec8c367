"""What became of frames and uploads: read from verdicts, dead letters, labels and trainings. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ingest.reasons import SkipReason
from ingest.signature import OWN_KEY_ID, BadSignature, verify
from roadloop_runtime.dead_letter import read_explanation, was_replayed
from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.outcome import Emit, Outcome, Skip, Undecodable
from roadloop_runtime.records import Record
from roadloop_schemas.frames import FrameScreened, FramesIngested
from roadloop_schemas.labels import LabelCompleted
from roadloop_schemas.models import TrainingChanged, TrainingState
from roadloop_schemas.uploads import UploadCompleted


@dataclass(frozen=True, slots=True)
class FrameFate:
    """One frame, or all frames of one unit, got a fate. A frame in flight takes the first; `labelled` comes on top.

    A frame whose unit was `replayed` from a dead letter takes another one.
    """

    fate: str
    reason: str = ""
    frame_id: str | None = None
    unit_id: str | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class FramesTrained:
    """Frames went into a dataset that was trained on."""

    frame_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class UploadRefused:
    """A completion that ingest itself had signed was given up: the upload's files are rejected as a whole."""

    tenant: str
    upload_id: str
    reason: str
    replayed: bool = False


def decide_on_verdict(memory: None, verdict: Received[FrameScreened], _policy: None) -> tuple[None, Outcome]:
    """A verdict is a frame's fate."""
    body = verdict.body
    fate = FrameFate(body.verdict.value, body.reasons[0].value, frame_id=body.frame_id, replayed=body.replayed)
    return memory, Emit(changes=(fate,))


def decide_on_label(memory: None, label: Received[LabelCompleted], _policy: None) -> tuple[None, Outcome]:
    """A label comes on top of the verdict."""
    return memory, Emit(changes=(FrameFate("labelled", frame_id=label.body.frame_id),))


def decide_on_training(memory: None, training: Received[TrainingChanged], _policy: None) -> tuple[None, Outcome]:
    """A run names its frames once, when it is queued."""
    if training.body.state is not TrainingState.QUEUED or not training.body.frame_ids:
        return memory, Skip(SkipReason.NOT_OURS)
    return memory, Emit(changes=(FramesTrained(training.body.frame_ids),))


def decide_on_dead_letter(memory: None, dead_letter: Record, _policy: None) -> tuple[None, Outcome]:
    """A unit that screening gave up counts for all its frames; one that is not ours counts for none."""
    try:
        unit = FramesIngested.model_validate_json(dead_letter.value or b"")
    except ValidationError:
        return memory, Skip(SkipReason.NOT_OURS)
    replayed = was_replayed(dead_letter.headers, dead_letter.topic)
    return memory, Emit(
        changes=(FrameFate("dead_lettered", _read_reason(dead_letter), unit_id=unit.unit_id, replayed=replayed),)
    )


def decide_on_upload_dead_letter(
    memory: None, dead_letter: Record, _policy: None, *, own_key: str
) -> tuple[None, Outcome]:
    """A completion that admission gave up. Only one that ingest signed speaks for an upload that was announced here:

    of what others sign, admission said who they are not, and their word must change nothing.
    """
    try:
        upload = make_decoder(UploadCompleted)(dead_letter)
        verify(
            dict(dead_letter.headers).get("jws", b""),
            upload.envelope.id,
            upload.envelope.tenant,
            dead_letter.value or b"",
            key=own_key,
            key_id=OWN_KEY_ID,
        )
    except (Undecodable, BadSignature):
        return memory, Skip(SkipReason.NOT_OURS)
    upload_refused = UploadRefused(
        upload.envelope.tenant, upload.body.upload_id, _read_reason(dead_letter), upload.replayed
    )
    return memory, Emit(changes=(upload_refused,))


def _read_reason(dead_letter: Record) -> str:
    return read_explanation(tuple(dead_letter.headers)).get("reason", "unknown")
