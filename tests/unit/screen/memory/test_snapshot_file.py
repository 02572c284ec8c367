"""A snapshot with what was written since is all that ever was written; a file that is none is told as such."""

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_runtime.records import Record
from screen.memory.entries import NOTHING, TOPIC, newest_of
from screen.memory.snapshot_file import BadSnapshot, Snapshot, as_file, extend_snapshot, of_file
from tests.builders import make_record

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
keys = st.sampled_from(["rate:acme/rain/front@3", "camera:Straße/ünder/\n\t", "slice:😀", ""]) | st.text(max_size=9)
values = st.none() | st.text(max_size=40).map(str.encode)
logs = st.lists(st.tuples(keys.map(str.encode), values), max_size=40)


def records(log: list[tuple[bytes, bytes | None]], first: int = 0) -> list[Record]:
    return [make_record(value, topic=TOPIC, key=key, offset=first + at) for at, (key, value) in enumerate(log)]


def taken(log: list[tuple[bytes, bytes | None]], known: Snapshot | None = None, first: int = 0) -> Snapshot:
    return extend_snapshot(known, records(log, first), partition=3, now=NOW)


@given(logs, logs, logs)
def test_a_snapshot_and_what_came_since_are_all_that_was_written(
    first: list[tuple[bytes, bytes | None]],
    second: list[tuple[bytes, bytes | None]],
    third: list[tuple[bytes, bytes | None]],
) -> None:
    once = of_file(as_file(taken(first)))
    twice = of_file(as_file(taken(second, once, len(first))))
    assert twice.head.offset == len(first) + len(second)
    assert newest_of(records(third), twice.entries) == newest_of(records(first + second + third), NOTHING)


@given(logs)
def test_a_file_gives_back_what_was_put_in(log: list[tuple[bytes, bytes | None]]) -> None:
    snapshot = taken(log)
    assert of_file(as_file(snapshot)) == snapshot
    assert snapshot.head.entries == len(snapshot.entries)


def test_what_was_read_again_changes_nothing() -> None:
    known = taken([(b"a", b"1"), (b"b", b"2")])
    assert taken([], known).head == known.head


FILE = as_file(taken([(b"a", b"1"), (b"b", b"2"), (b"c", None)]))


@given(st.integers(0, len(FILE) - 1))
def test_a_file_that_is_cut_off_is_no_snapshot(at: int) -> None:
    with pytest.raises(BadSnapshot):
        of_file(FILE[:at])


@given(st.binary(max_size=60))
def test_what_is_no_gzip_is_no_snapshot(content: bytes) -> None:
    with pytest.raises(BadSnapshot):
        of_file(content)


@given(st.text(max_size=60) | st.just("null\n[1, 2]"))
def test_what_is_in_a_gzip_is_not_believed(text: str) -> None:
    with pytest.raises(BadSnapshot):
        of_file(gzip.compress(text.encode()))


@pytest.mark.parametrize("line", ['["a"]', '[1, "b"]', '{"a": "b"}', "null", '["a", null]', '["a", "b", "c"]', ""])
def test_a_line_that_is_no_entry_is_not_believed(line: str) -> None:
    head = gzip.decompress(FILE).decode().split("\n")[0]
    with pytest.raises(BadSnapshot):
        of_file(gzip.compress(f'{head}\n["a", "1"]\n{line}'.encode()))


def test_a_line_too_few_is_said() -> None:
    lines = gzip.decompress(FILE).decode().split("\n")
    with pytest.raises(BadSnapshot, match="not all of a snapshot: 1 of 2 entries"):
        of_file(gzip.compress("\n".join(lines[:-1]).encode()))


def test_it_is_used_for_shorter_than_the_topic_remembers_what_was_forgotten() -> None:
    head = taken([]).head
    assert head.is_young(NOW + timedelta(hours=9.9))
    assert not head.is_young(NOW + timedelta(hours=10))
    assert head.is_usable(NOW + timedelta(hours=19.9))
    assert not head.is_usable(NOW + timedelta(hours=20))
