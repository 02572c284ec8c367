"""Counting, choosing and marking dead letters."""

import math
from dataclasses import replace
from functools import reduce

import pytest

from roadloop_runtime.cli.terminal import Refused
from roadloop_runtime.commands.dead_letters import describe_fates, read_offsets
from roadloop_runtime.dead_letter import was_replayed
from roadloop_runtime.dead_letters.dead_letters import (
    Choice,
    Count,
    DeadLetterRecord,
    Fate,
    Place,
    add_to_count,
    counts_as_json,
    decide_fate,
    read_dead_letter,
    read_mark,
    to_batch,
    to_mark,
)
from roadloop_runtime.records import Event, Partition
from tests.builders import make_record, read_back

TOPIC = "dlq.screen.frames.ingested.v1"
PLACE = Place(TOPIC, 1, 7, 1_000)
SAID = {"topic": "frames.ingested.v1", "partition": "1", "reason": "undecodable", "rule": "be JSON"}
LETTER = DeadLetterRecord(PLACE, b"k", b"v", (("ce_id", b"e-1"),), SAID)
PARTITIONS = {"frames.ingested.v1": 6}


def dead_letter(offset: int, reason: str, at_ms: int) -> DeadLetterRecord:
    return replace(LETTER, place=Place(TOPIC, 1, offset, at_ms), explanation=SAID | {"reason": reason})


def test_letters_are_counted_by_reason_with_first_and_last_time() -> None:
    letters = [dead_letter(0, "a", 30), dead_letter(1, "b", 20), dead_letter(2, "a", 10), dead_letter(3, "a", 20)]
    replayed = frozenset({letters[2].place})

    def add(counts: dict[str, Count], one: DeadLetterRecord) -> dict[str, Count]:
        return counts | {one.reason: add_to_count(counts, one, replayed)}

    counts: dict[str, Count] = reduce(add, letters, {})
    assert counts == {"a": Count(TOPIC, "a", 3, 1, 10, 30), "b": Count(TOPIC, "b", 1, 0, 20, 20)}
    assert counts_as_json(counts.values()) == {
        "topics": [
            {
                "topic": TOPIC,
                "reasons": [
                    {"reason": "a", "letters": 3, "replayed": 1, "first_at_ms": 10, "last_at_ms": 30},
                    {"reason": "b", "letters": 1, "replayed": 0, "first_at_ms": 20, "last_at_ms": 20},
                ],
            }
        ]
    }


@pytest.mark.parametrize(
    ("said", "choice", "replayed", "expected"),
    [
        pytest.param(SAID, Choice(), (), Fate.REPLAYED, id="all-takes-each"),
        pytest.param(SAID, Choice("undecodable"), (), Fate.REPLAYED, id="its-reason-is-asked-for"),
        pytest.param(SAID, Choice("still_failing"), (PLACE,), Fate.NOT_CHOSEN, id="another-reason-is-asked-for"),
        pytest.param(SAID, Choice(rule="be JSON"), (), Fate.REPLAYED, id="its-rule-is-asked-for"),
        pytest.param(SAID, Choice(rule="be"), (), Fate.NOT_CHOSEN, id="a-part-of-its-rule"),
        pytest.param(SAID, Choice(event_id="e-1"), (), Fate.REPLAYED, id="its-event-id-is-asked-for"),
        pytest.param(SAID, Choice(event_id="e-2"), (), Fate.NOT_CHOSEN, id="another-event-id"),
        pytest.param(SAID, Choice(partition=1, first=7, last=7), (), Fate.REPLAYED, id="its-offset"),
        pytest.param(SAID, Choice(partition=1, first=8), (), Fate.NOT_CHOSEN, id="before-the-range"),
        pytest.param(SAID, Choice(partition=1, last=6), (), Fate.NOT_CHOSEN, id="behind-the-range"),
        pytest.param(SAID, Choice(partition=0), (), Fate.NOT_CHOSEN, id="another-partition"),
        pytest.param(SAID, Choice("undecodable", partition=0), (), Fate.NOT_CHOSEN, id="all-that-is-said-must-hold"),
        pytest.param(SAID, Choice(), (PLACE,), Fate.REPLAYED_BEFORE, id="each-letter-once"),
        pytest.param(SAID, Choice(again=True), (PLACE,), Fate.REPLAYED, id="again-overrides"),
        pytest.param(SAID, Choice(), (PLACE._replace(written_at_ms=999),), Fate.REPLAYED, id="topic-was-made-anew"),
        pytest.param({"reason": "a"}, Choice(), (), Fate.NO_ORIGIN, id="somebody-else-wrote-into-the-topic"),
        pytest.param(SAID | {"partition": "-1"}, Choice(), (), Fate.NO_ORIGIN, id="no-partition-number"),
        pytest.param(SAID | {"partition": "6"}, Choice(), (), Fate.ORIGIN_MISSING, id="partition-is-not-there"),
        pytest.param(SAID | {"topic": "gone.v1"}, Choice(), (), Fate.ORIGIN_MISSING, id="topic-is-not-there"),
    ],
)
def test_the_fate_of_a_letter(
    said: dict[str, str], choice: Choice, replayed: tuple[Place, ...], expected: Fate
) -> None:
    assert decide_fate(replace(LETTER, explanation=said), choice, frozenset(replayed), PARTITIONS) is expected


def test_a_mark_is_read_back_as_the_letters_place() -> None:
    event = to_mark(LETTER, "runtime.replays.v1")
    assert event == Event("runtime.replays.v1", b"dlq.screen.frames.ingested.v1/1/7", b'{"written_at_ms": 1000}', (), 0)
    assert read_mark(read_back(event)) == PLACE


def test_a_batch_has_each_record_with_its_mark() -> None:
    header = ("__dlq.replayed.from", b"dlq.screen.frames.ingested.v1/1/7")
    assert to_batch([LETTER], "marks.v1") == [
        Event("frames.ingested.v1", b"k", b"v", (("ce_id", b"e-1"), header), 1),
        Event("marks.v1", b"dlq.screen.frames.ingested.v1/1/7", b'{"written_at_ms": 1000}', (), 0),
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        pytest.param(Choice(), Fate.REPLAYED, id="all"),
        pytest.param(Choice(event_id="e-1"), Fate.NOT_CHOSEN, id="an-event-id"),
        pytest.param(Choice(partition=1), Fate.REPLAYED, id="its-partition"),
    ],
)
def test_a_letter_whose_event_id_has_no_value_stops_no_replay(choice: Choice, expected: Fate) -> None:
    """A client may write a header without a value, whatever the types say."""
    nameless = replace(LETTER, headers=(("ce_id", None),))  # type: ignore[arg-type]
    assert decide_fate(nameless, choice, frozenset(), PARTITIONS) is expected


@pytest.mark.parametrize(
    ("said", "replayed"),
    [
        pytest.param(b"dlq.screen.frames.ingested.v1/0/7", True, id="a-letter-of-the-topic"),
        pytest.param(b"dlq.screen.frames.screened.v1/0/7", False, id="a-letter-of-another-topic"),
        pytest.param(b"frames.ingested.v1/0/7", False, id="no-letter"),
        pytest.param(b"\xff/0/7", False, id="no-text"),
        pytest.param(b"", False, id="nothing"),
        pytest.param(None, False, id="no-value"),
    ],
)
def test_a_replay_names_the_letter_it_was(said: bytes | None, replayed: bool) -> None:
    headers = (("h", b"1"), ("__dlq.replayed.from", said))
    assert was_replayed(headers, "frames.ingested.v1") == replayed  # type: ignore[arg-type]
    assert was_replayed(headers, "dlq.screen.frames.ingested.v1") == replayed  # type: ignore[arg-type]
    assert not was_replayed((("h", b"1"),), "frames.ingested.v1")


def test_a_record_without_our_headers_is_a_letter_without_reason_and_origin() -> None:
    read = read_dead_letter(
        make_record(None, topic=TOPIC, partition=1, offset=7, key=None, headers=(("h", b"1"),), written_at_ms=1_000)
    )
    assert read == DeadLetterRecord(PLACE, None, None, (("h", b"1"),), {})
    assert (read.reason, read.origin) == ("(none given)", None)
    assert LETTER.origin == Partition("frames.ingested.v1", 1)


@pytest.mark.parametrize(
    ("fates", "dry_run", "expected"),
    [
        pytest.param({}, False, "0 replayed", id="nothing-there"),
        pytest.param({Fate.REPLAYED: 3}, True, "3 would be replayed", id="dry-run"),
        pytest.param(
            {Fate.REPLAYED: 1, Fate.REPLAYED_BEFORE: 2, Fate.NOT_CHOSEN: 9},
            False,
            "1 replayed, 2 were replayed before (--again takes them too)",
            id="replayed-before",
        ),
        pytest.param(
            {Fate.NO_ORIGIN: 1, Fate.ORIGIN_MISSING: 2},
            False,
            "0 replayed, 1 do not say where they came from, 2 came from a partition that is not there",
            id="nowhere-to-go",
        ),
    ],
)
def test_one_line_says_what_became_of_the_letters(fates: dict[Fate, int], dry_run: bool, expected: str) -> None:
    assert describe_fates(fates, dry_run) == expected


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        pytest.param(None, (0, math.inf), id="all"),
        pytest.param("7", (7, 7), id="one"),
        pytest.param("7-9", (7, 9), id="a-range"),
    ],
)
def test_offsets_are_one_or_a_range(text: str | None, offsets: tuple[int, float]) -> None:
    assert read_offsets(text) == offsets


@pytest.mark.parametrize("text", ["", "-", "7-", "-7", "7-9-11", "seven", "7.5", "²"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="say one offset"):
        read_offsets(text)
