"""What a record carries on its way to a dead-letter topic, back, and there again."""

from dataclasses import replace

import pytest

from roadloop_runtime.dead_letter import is_dead_letter_topic, read_explanation, remove_our_headers, to_dead_letter
from roadloop_runtime.dead_letters.dead_letters import read_dead_letter, to_original_event
from roadloop_runtime.outcome import DeadLetter, LoopReason
from roadloop_runtime.records import Partition
from roadloop_schemas.topics import name_dead_letter_topic
from tests.builders import make_record, read_back

HEADERS = (("ce_id", b"e-1"), ("twice", b"1"), ("twice", b"2"))
DIED = make_record(b"\x00\xff", partition=4, offset=17, headers=HEADERS)
LETTER = DeadLetter(LoopReason.UNDECODABLE, "no such field", "frames.0.uri", "is required", "send it")
SAID = {
    "topic": "frames.ingested.v1",
    "partition": "4",
    "offset": "17",
    "group": "screen",
    "message": "no such field",
    "reason": "undecodable",
    "field": "frames.0.uri",
    "rule": "is required",
    "remedy": "send it",
}


def test_a_dead_letter_is_the_record_untouched_with_headers_that_say_why() -> None:
    event = to_dead_letter("screen", DIED, LETTER)
    assert (event.topic, event.partition) == ("dlq.screen.frames.ingested.v1", 4)
    assert (event.key, event.value) == (b"car-1", b"\x00\xff")
    assert read_explanation(event.headers) == SAID
    assert remove_our_headers(event.headers) == HEADERS


def test_what_a_group_does_not_say_is_not_in_the_headers() -> None:
    event = to_dead_letter("screen", DIED, DeadLetter(LoopReason.HANDLER_FAILED))
    assert read_explanation(event.headers) == {
        key: value for key, value in SAID.items() if key in ("topic", "partition", "offset", "group")
    } | {"reason": "handler_failed"}


def test_texts_are_cut_at_4096_bytes_and_half_a_letter_is_readable() -> None:
    event = to_dead_letter("screen", DIED, replace(LETTER, detail="ä" * 3_000))
    assert read_explanation(event.headers)["message"] == "ä" * 2_048
    event = to_dead_letter("screen", DIED, replace(LETTER, detail="a" + "ä" * 3_000))
    assert read_explanation(event.headers)["message"] == "a" + "ä" * 2_047 + "\ufffd"


def test_a_sender_cannot_explain_a_letter_in_our_name() -> None:
    forged = (("__dlq.errors.topic", b"models.released.v1"), ("__dlq.errors.field", b"none"))
    died = make_record(partition=4, offset=17, headers=(*forged, *HEADERS))
    event = to_dead_letter("screen", died, replace(LETTER, field=""))
    assert read_explanation(event.headers) == {name: text for name, text in SAID.items() if name != "field"}


def test_a_replayed_record_that_dies_again_names_its_first_letter_and_is_replayed_without_old_headers() -> None:
    first = read_dead_letter(read_back(to_dead_letter("screen", DIED, LETTER), offset=3))
    sent = to_original_event(first, Partition("frames.ingested.v1", 4))
    assert sent.headers == (*HEADERS, ("__dlq.replayed.from", b"dlq.screen.frames.ingested.v1/4/3"))

    second = read_dead_letter(read_back(to_dead_letter("screen", read_back(sent, offset=90), LETTER), offset=8))
    assert second.explanation == SAID | {"offset": "90"}
    assert ("__dlq.replayed.from", b"dlq.screen.frames.ingested.v1/4/3") in second.headers
    again = to_original_event(second, Partition("frames.ingested.v1", 4))
    assert again.headers == (*HEADERS, ("__dlq.replayed.from", b"dlq.screen.frames.ingested.v1/4/8"))


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        pytest.param(name_dead_letter_topic("screen", "frames.ingested.v1"), True, id="what-the-loop-makes"),
        pytest.param("frames.ingested.v1", False, id="an-event-topic"),
        pytest.param("dlqs.v1", False, id="a-name-that-only-begins-alike"),
    ],
)
def test_dead_letter_topics_are_told_by_their_name(name: str, is_one: bool) -> None:
    assert is_dead_letter_topic(name) is is_one
