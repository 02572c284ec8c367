"""What became of a frame, read from the events that tell it."""

import pytest

from ingest import fates
from ingest.fate_table import Books
from ingest.fates import FrameFate, FramesTrained, UploadRefused
from ingest.reasons import SkipReason
from ingest.signature import OWN_KEY_ID, make_key, sign
from roadloop_runtime.dead_letter import to_dead_letter
from roadloop_runtime.outcome import DeadLetter, Emit, LoopReason, Outcome, Skip
from roadloop_runtime.records import Record
from roadloop_schemas.frames import Verdict, VerdictReason
from roadloop_schemas.models import TrainingState
from tests.builders import (
    make_label,
    make_record,
    make_training,
    make_unit,
    make_upload,
    make_verdict,
    read_back,
    receive,
)

OWN_KEY = "k" * 32
UNIT = make_unit().model_dump_json().encode()


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
    body = make_verdict(verdict=verdict, reasons=reasons)
    assert fates.decide_on_verdict(None, receive(body), None) == (None, Emit(changes=(fate,)))


def test_a_label_comes_on_top() -> None:
    said = Emit(changes=(FrameFate("labelled", frame_id="f-1"),))
    assert fates.decide_on_label(None, receive(make_label()), None) == (None, said)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        pytest.param({}, Emit(changes=(FramesTrained(("f-1", "f-2")),)), id="a-queued-run-names-its-frames"),
        pytest.param({"frame_ids": ()}, Skip(SkipReason.NOT_OURS), id="an-offer-names-none"),
        pytest.param({"state": TrainingState.RELEASED}, Skip(SkipReason.NOT_OURS), id="a-later-state-names-none-again"),
    ],
)
def test_a_training(changes: dict[str, object], outcome: Outcome) -> None:
    assert fates.decide_on_training(None, receive(make_training(**changes)), None) == (None, outcome)


def test_a_dead_letter_counts_for_the_whole_unit() -> None:
    dead_letter = to_dead_letter("screen", make_record(UNIT), DeadLetter(LoopReason.STILL_FAILING))
    said = Emit(changes=(FrameFate("dead_lettered", "still_failing", unit_id="u-1"),))
    assert fates.decide_on_dead_letter(None, read_back(dead_letter), None) == (None, said)


def test_what_was_replayed_is_known_by_its_header_and_by_its_verdict() -> None:
    mark = ("__dlq.replayed.from", b"dlq.screen.frames.ingested.v1/0/7")
    again = make_record(UNIT, headers=(mark,))
    dead_letter = to_dead_letter("screen", again, DeadLetter(LoopReason.STILL_FAILING))
    said = Emit(changes=(FrameFate("dead_lettered", "still_failing", unit_id="u-1", replayed=True),))
    assert fates.decide_on_dead_letter(None, read_back(dead_letter), None) == (None, said)
    (change,) = fates.decide_on_verdict(None, receive(make_verdict(replayed=True)), None)[1].changes  # type: ignore[union-attr]
    assert change.replayed


@pytest.mark.parametrize("value", [b"", b"no JSON", b"{}", b"\xff"])
def test_a_dead_letter_that_is_no_unit_counts_for_none(value: bytes) -> None:
    assert fates.decide_on_dead_letter(None, make_record(value), None) == (None, Skip(SkipReason.NOT_OURS))


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


def completion_letter(key_id: str, key: str, signed: bytes | None = None) -> Record:
    """Return the dead letter of a completion, signed by somebody over its own value or another."""
    body = make_upload()
    value = body.model_dump_json().encode() if signed is None else signed
    jws = sign("e-1", "acme", value, key=key, key_id=key_id)
    came = receive(body, more_headers=(("jws", jws),)).record
    return read_back(to_dead_letter("ingest", came, DeadLetter(LoopReason.STILL_FAILING)))


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
        pytest.param(make_record(b"no JSON"), id="no-event"),
    ],
)
def test_the_letters_of_others_change_no_upload(dead_letter: Record) -> None:
    assert fates.decide_on_upload_dead_letter(None, dead_letter, None, own_key=OWN_KEY) == (
        None,
        Skip(SkipReason.NOT_OURS),
    )
