"""What became of a frame, read from the events that tell it."""

from datetime import UTC, datetime
from typing import TypeVar

import pytest
from aiokafka import ConsumerRecord

from ingest import fates
from ingest.fate_table import Books
from ingest.fates import FrameFate, FramesTrained, UploadRefused
from ingest.reasons import SkipReason
from ingest.signature import OWN_KEY_ID, make_key, sign
from roadloop_runtime.dead_letter import to_dead_letter
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter, Emit, LoopReason, Outcome, Skip
from roadloop_schemas.cloudevents import Attributes, Header, rfc3339, to_headers
from roadloop_schemas.fields import EventBody, ObjectRef
from roadloop_schemas.frames import FrameScreened, FramesIngested, IngestedFrame, SliceCounters, Verdict, VerdictReason
from roadloop_schemas.labels import LabelCompleted, LabelSource
from roadloop_schemas.models import TrainingChanged, TrainingState
from roadloop_schemas.uploads import UploadCompleted, UploadedFile

B = TypeVar("B", bound=EventBody)
OWN_KEY = "k" * 32
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
OBJECT = ObjectRef(uri="s3://uploads/acme/car-1/1.jpg", sha256="0" * 64, size_bytes=10)
VERDICT = FrameScreened(
    frame_id="f-1",
    unit_id="u-1",
    upload_id="up-1",
    vehicle="car-1",
    drive="d-1",
    object=OBJECT,
    captured_at=NOW,
    received_at=NOW,
    width_px=640,
    height_px=480,
    verdict=Verdict.KEPT,
    reasons=(VerdictReason.AUDIT, VerdictReason.SCORE),
    slice="clear/front",
    policy_version=1,
    threshold=0.5,
    counters=SliceCounters(seen=1, kept=1, dropped=0, quarantined=0),
)
FRAME = IngestedFrame(
    frame_id="f-1",
    object=OBJECT,
    width_px=640,
    height_px=480,
    captured_at=NOW,
    camera="front",
    dhash="0" * 16,
    laplacian_variance=1.0,
    brightness=0.5,
)
UNIT = FramesIngested(unit_id="u-1", upload_id="up-1", vehicle="car-1", drive="d-1", received_at=NOW, frames=(FRAME,))
LABEL = LabelCompleted(
    task_id="t-1",
    frame_id="f-1",
    upload_id="up-1",
    vehicle="car-1",
    drive="d-1",
    object=OBJECT,
    slice="clear/front",
    boxes=(),
    annotator="a-1",
    source=LabelSource.CHOSEN,
    captured_at=NOW,
    completed_at=NOW,
    lead_time_s=3.0,
)
RUN = TrainingChanged(
    run_id="r-1",
    revision=0,
    state=TrainingState.QUEUED,
    model="detector.acme",
    dataset_id="d-1",
    labels=2,
    base_version=1,
    frame_ids=("f-1", "f-2"),
    changed_at=NOW,
)


def record(value: bytes, headers: tuple[Header, ...] = ()) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("frames.ingested.v1", 0, 0, 0, 0, b"car-1", value, 0, 0, 0, headers)


def received(body: B) -> Received[B]:
    envelope = Attributes("e-1", "/roadloop/screen", "any", "acme")
    return Received(envelope, body, 0, 0, NOW, record(body.model_dump_json().encode()))


@pytest.mark.parametrize(
    ("verdict", "reasons", "fate"),
    [
        pytest.param(
            Verdict.KEPT, (VerdictReason.AUDIT, VerdictReason.SCORE), FrameFate("kept", "audit", "f-1"), id="kept"
        ),
        pytest.param(
            Verdict.DROPPED, (VerdictReason.BLURRED,), FrameFate("dropped", "blurred", "f-1"), id="dropped-with-reason"
        ),
        pytest.param(
            Verdict.QUARANTINED,
            (VerdictReason.OBJECT_MISSING,),
            FrameFate("quarantined", "object_missing", "f-1"),
            id="quarantined-with-reason",
        ),
    ],
)
def test_a_verdict_is_a_fate(verdict: Verdict, reasons: tuple[VerdictReason, ...], fate: FrameFate) -> None:
    body = VERDICT.model_copy(update={"verdict": verdict, "reasons": reasons})
    assert fates.decide_on_verdict(None, received(body), None) == (None, Emit(changes=(fate,)))


def test_a_label_comes_on_top() -> None:
    said = Emit(changes=(FrameFate("labelled", frame_id="f-1"),))
    assert fates.decide_on_label(None, received(LABEL), None) == (None, said)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        pytest.param({}, Emit(changes=(FramesTrained(("f-1", "f-2")),)), id="a-queued-run-names-its-frames"),
        pytest.param({"frame_ids": ()}, Skip(SkipReason.NOT_OURS), id="an-offer-names-none"),
        pytest.param({"state": TrainingState.RELEASED}, Skip(SkipReason.NOT_OURS), id="a-later-state-names-none-again"),
    ],
)
def test_a_training(changes: dict[str, object], outcome: Outcome) -> None:
    assert fates.decide_on_training(None, received(RUN.model_copy(update=changes)), None) == (None, outcome)


def test_a_dead_letter_counts_for_the_whole_unit() -> None:
    dead_letter = to_dead_letter(
        "screen", record(UNIT.model_dump_json().encode()), DeadLetter(LoopReason.STILL_FAILING)
    )
    said = Emit(changes=(FrameFate("dead_lettered", "still_failing", unit_id="u-1"),))
    assert fates.decide_on_dead_letter(None, record(dead_letter.value or b"", dead_letter.headers), None) == (
        None,
        said,
    )


def test_what_was_replayed_is_known_by_its_header_and_by_its_verdict() -> None:
    mark = ("__dlq.replayed.from", b"dlq.screen.frames.ingested.v1/0/7")
    again = record(UNIT.model_dump_json().encode(), (mark,))
    dead_letter = to_dead_letter("screen", again, DeadLetter(LoopReason.STILL_FAILING))
    said = Emit(changes=(FrameFate("dead_lettered", "still_failing", unit_id="u-1", replayed=True),))
    assert fates.decide_on_dead_letter(None, record(dead_letter.value or b"", dead_letter.headers), None) == (
        None,
        said,
    )
    verdict = VERDICT.model_copy(update={"replayed": True})
    (change,) = fates.decide_on_verdict(None, received(verdict), None)[1].changes  # type: ignore[union-attr]
    assert change.replayed


@pytest.mark.parametrize("value", [b"", b"no JSON", b"{}", b"\xff"])
def test_a_dead_letter_that_is_no_unit_counts_for_none(value: bytes) -> None:
    assert fates.decide_on_dead_letter(None, record(value), None) == (None, Skip(SkipReason.NOT_OURS))


@pytest.mark.parametrize(
    ("files", "frames", "balanced"),
    [
        pytest.param({"accepted": 2, "open": 1}, {"kept": 1, "in_flight": 1}, True, id="all-accounted-for"),
        pytest.param({"accepted": 2}, {"kept": 1, "in_flight": 1}, False, id="a-file-is-missing"),
        pytest.param({"accepted": 2, "open": 1}, {"kept": 1}, False, id="a-frame-is-missing"),
        pytest.param({"accepted": 2, "open": 1}, {"kept": 3}, False, id="a-frame-too-many"),
    ],
)
def test_the_books(files: dict[str, int], frames: dict[str, int], balanced: bool) -> None:
    books = Books(
        announced=3,
        files=files,
        ingested=2,
        frames=frames,
        reasons={},
        labelled=0,
        trained=0,
        replayed_files=0,
        replayed=0,
    )
    assert books.balanced == balanced


def completion_letter(key_id: str, key: str, signed: bytes | None = None) -> ConsumerRecord[bytes, bytes]:
    """Return the dead letter of a completion, signed by somebody over its own value or another."""
    body = UploadCompleted(
        upload_id="up-1",
        vehicle="car-1",
        drive="d-1",
        files=(UploadedFile(object=OBJECT, captured_at=NOW, media_type="image/jpeg"),),
        completed_at=NOW,
        received_at=NOW,
    )
    value = body.model_dump_json().encode()
    about = Attributes("e-1", "/roadloop/ingest", "roadloop.uploads.completed.v1", "acme", rfc3339(NOW))
    jws = sign("e-1", "acme", value if signed is None else signed, key=key, key_id=key_id)
    came = ConsumerRecord(
        "uploads.completed.v1", 0, 0, 0, 0, b"car-1", value, 0, 0, 0, (*to_headers(about), ("jws", jws))
    )
    dead_letter = to_dead_letter("ingest", came, DeadLetter(LoopReason.STILL_FAILING))
    return ConsumerRecord("dlq", 0, 0, 0, 0, dead_letter.key, dead_letter.value, 0, 0, 0, dead_letter.headers)


def test_a_completion_by_ingest_that_was_given_up_rejects_its_upload() -> None:
    said = Emit(changes=(UploadRefused("acme", "up-1", "still_failing"),))
    dead_letter = completion_letter(OWN_KEY_ID, OWN_KEY)
    assert fates.decide_on_upload_dead_letter(None, dead_letter, None, own_key=OWN_KEY) == (None, said)


@pytest.mark.parametrize(
    "dead_letter",
    [
        pytest.param(completion_letter("acme/car-1", make_key()[0]), id="by-a-vehicle"),
        pytest.param(completion_letter(OWN_KEY_ID, "x" * 32), id="by-another-secret"),
        pytest.param(completion_letter(OWN_KEY_ID, OWN_KEY, b"{}"), id="of-another-value"),
        pytest.param(record(b"no JSON"), id="no-event"),
    ],
)
def test_the_letters_of_others_change_no_upload(dead_letter: ConsumerRecord[bytes, bytes]) -> None:
    assert fates.decide_on_upload_dead_letter(None, dead_letter, None, own_key=OWN_KEY) == (
        None,
        Skip(SkipReason.NOT_OURS),
    )
