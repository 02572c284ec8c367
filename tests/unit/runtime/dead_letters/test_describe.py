"""A dead letter in words: JSON is indented, bytes are hex, nothing moves the cursor."""

import pytest

from roadloop_runtime.cli.terminal import escape_controls
from roadloop_runtime.dead_letters.dead_letters import DeadLetterRecord, Place
from roadloop_runtime.dead_letters.describe import describe, format_value

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        pytest.param(None, 99, "(null)", id="a-tombstone"),
        pytest.param(b"", 99, "", id="empty"),
        pytest.param(b'{"a":[1,"\xc3\xa4"]}', 99, '{\n  "a": [\n    1,\n    "ä"\n  ]\n}', id="json-is-indented"),
        pytest.param(b'"\\ud800"', 99, '"\\ud800"', id="half-a-surrogate"),
        pytest.param("nö".encode(), 99, "nö", id="text-is-text"),
        pytest.param(b"\xff\x00", 99, "hex ff 00", id="bytes-are-hex"),
        pytest.param(b"abcdef", 4, "abcd… (2 bytes more)", id="text-is-cut"),
        pytest.param("aä".encode(), 2, "a… (1 bytes more)", id="no-half-letters"),
        pytest.param(b"\xff" * 5, 2, "hex ff ff… (3 bytes more)", id="hex-is-cut"),
        pytest.param(DEEP, 3, "[[[… (99997 bytes more)", id="deeper-than-a-parser-goes"),
    ],
)
def test_values_are_shown_as_what_they_are(value: bytes | None, limit: int, expected: str) -> None:
    assert format_value(value, limit) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain\nlines", "plain\nlines", id="line-ends-stay"),
        pytest.param("\x1b[31mred\x07", "\\x1b[31mred\\x07", id="escape-sequences"),
        pytest.param("\x9b2J\u202e", "\\x9b2J\\u202e", id="eight-bit-controls-and-reversed-text"),
    ],
)
def test_senders_cannot_write_on_the_terminal(text: str, expected: str) -> None:
    assert escape_controls(text) == expected


def test_a_letter_says_why_what_to_do_and_what_it_was() -> None:
    said = {
        "topic": "frames.ingested.v1",
        "partition": "1",
        "offset": "40",
        "group": "screen",
        "message": "FramesIngested: frames: Field required",
        "reason": "undecodable",
        "field": "frames",
        "remedy": "send it",
    }
    headers = (("ce_id", b"e-1"), ("bell", b"\x07"))
    dead_letter = DeadLetterRecord(
        Place("dlq.screen.frames.ingested.v1", 1, 7, 0), b"v-1", b'{"unit_id":"u"}', headers, said
    )
    assert describe(dead_letter).splitlines() == [
        "letter   dlq.screen.frames.ingested.v1/1/7",
        "record   frames.ingested.v1/1/40, given up by group screen",
        "reason   undecodable",
        "detail   FramesIngested: frames: Field required",
        "field    frames",
        "rule     (its group does not say)",
        "remedy   send it",
        "key      v-1",
        "headers",
        "  ce_id: e-1",
        "  bell: \\x07",
        "value",
        "{",
        '  "unit_id": "u"',
        "}",
    ]
