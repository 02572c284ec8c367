"""Which files of history are read together, and which are merged."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from screen.history.file_merging import (
    LARGE_BYTES,
    SMALL_BYTES,
    WORTH_IT,
    Stretch,
    join_overlapping,
    select_worth_merging,
)

KB = 1024
places = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5), st.integers(1, 2 * SMALL_BYTES)), max_size=40).map(
    lambda drawn: [Stretch(first, first + more, size, (n,)) for n, (first, more, size) in enumerate(drawn)]
)


def small(count: int, first: int = 0, size: int = 10 * KB) -> list[Stretch]:
    return [Stretch(first + 10 * n, first + 10 * n + 9, size, (first + n,)) for n in range(count)]


def test_files_are_read_by_their_offsets_and_those_that_overlap_together() -> None:
    one, two, three = Stretch(20, 29, 1, (0,)), Stretch(0, 9, 1, (1,)), Stretch(25, 40, 1, (2,))
    assert join_overlapping([one, two, three]) == [two, Stretch(20, 40, 2, (0, 2))]


@given(places)
def test_every_file_is_read_once_and_nothing_overlaps(files: list[Stretch]) -> None:
    found = join_overlapping(files)
    assert sorted(place for one in found for place in one.files) == list(range(len(files)))
    assert all(before.last < after.first for before, after in pairwise(found))


@given(places)
def test_what_is_merged_was_small_lies_together_and_stays_readable(files: list[Stretch]) -> None:
    stretches = join_overlapping(files)
    for merged in select_worth_merging(stretches):
        parts = [one for one in stretches if set(one.files) <= set(merged.files)]
        assert len(merged.files) >= WORTH_IT
        assert all(one.bytes < SMALL_BYTES for one in parts)
        assert merged.bytes == sum(one.bytes for one in parts) < LARGE_BYTES + SMALL_BYTES
        assert {place for one in parts for place in one.files} == set(merged.files)
        others = [one for one in stretches if one not in parts]
        assert not any(merged.first <= one.last and one.first <= merged.last for one in others)


def test_few_files_are_left_as_they_are() -> None:
    assert select_worth_merging(small(WORTH_IT - 1)) == []
    assert (
        select_worth_merging([*small(WORTH_IT - 1), Stretch(80, 99, SMALL_BYTES, (99,)), *small(WORTH_IT - 1, 100)])
        == []
    )
    (merged,) = select_worth_merging(small(WORTH_IT))
    assert (merged.first, merged.last, merged.bytes) == (0, 79, WORTH_IT * 10 * KB)


def test_one_file_of_each_of_many_days_is_not_merged_again_and_again() -> None:
    daily = [replace(one, days=frozenset({place})) for place, one in enumerate(small(30))]
    assert select_worth_merging(daily) == []
    (merged,) = select_worth_merging(
        [*daily[:3], *(replace(one, days=frozenset({3})) for one in small(WORTH_IT + 1, 300))]
    )
    assert merged.days == {0, 1, 2, 3}


def test_what_was_merged_is_not_merged_again_once_it_is_large() -> None:
    (merged,) = select_worth_merging(small(20, size=300 * KB))
    assert merged.bytes > SMALL_BYTES
    assert select_worth_merging([merged, *small(WORTH_IT - 1, 1_000)]) == []
