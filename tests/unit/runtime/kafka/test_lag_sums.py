"""How far a group is behind, from offsets and timestamps."""

import pytest

from roadloop_runtime.kafka.lag import (
    GroupLag,
    Lag,
    Log,
    as_json,
    find_next_offsets,
    measure_lag,
    seconds_since,
    sum_groups,
    to_rows,
)
from roadloop_runtime.records import Partition

P = Partition("frames.ingested.v1", 2)


@pytest.mark.parametrize(
    ("committed", "log", "records"),
    [
        pytest.param(7, Log(0, 10), 3, id="committed-to-end"),
        pytest.param(10, Log(0, 10), 0, id="at-the-end"),
        pytest.param(None, Log(4, 10), 6, id="never-committed-begins-at-the-start"),
        pytest.param(2, Log(4, 10), 8, id="expired-records-count-as-kafkas-tool-counts-them"),
        pytest.param(90, Log(0, 10), 0, id="log-was-made-anew"),
    ],
)
def test_records_behind(committed: int | None, log: Log, records: int) -> None:
    found = measure_lag("screen", P, committed=committed, log=log, seconds_behind=1.5)
    assert found == Lag("screen", *P, committed, log.end, records, 1.5)


@pytest.mark.parametrize(
    ("committed", "log", "expected"),
    [
        pytest.param({P: 7}, Log(0, 10), {P: 7}, id="at-the-committed-offset"),
        pytest.param({}, Log(4, 10), {P: 4}, id="at-the-start-where-none-is-committed"),
        pytest.param({P: 2}, Log(4, 10), {P: 4}, id="at-the-start-where-it-expired"),
        pytest.param({P: 10}, Log(0, 10), {}, id="nothing-behind-it"),
    ],
)
def test_where_the_next_read_begins(committed: dict[Partition, int], log: Log, expected: dict[Partition, int]) -> None:
    assert find_next_offsets(committed, {P: log}) == expected


@pytest.mark.parametrize(
    ("written_at_ms", "seconds"),
    [
        pytest.param(None, 0.0, id="nothing-unread"),
        pytest.param(8_500, 1.5, id="age-of-the-first-unread"),
        pytest.param(11_000, 0.0, id="a-writers-clock-ahead-of-ours"),
    ],
)
def test_seconds_behind(written_at_ms: int | None, seconds: float) -> None:
    assert seconds_since(written_at_ms, 10_000) == seconds


def test_groups_are_sorted_and_summed_and_one_unknown_age_makes_the_sum_unknown() -> None:
    a = [Lag("a", "t", 10, 1, 4, 3, 9.0), Lag("a", "t", 2, None, 5, 5, 2.0), Lag("a", "s", 0, 5, 5, 0, 0.0)]
    b = [Lag("b", "t", 0, 1, 2, 1, None), Lag("b", "t", 1, 1, 2, 1, 4.0)]
    sums = sum_groups([*reversed(b), *a])
    assert sums == [GroupLag("a", 8, 9.0, (a[2], a[1], a[0])), GroupLag("b", 2, None, tuple(b))]
    assert to_rows(sums) == [
        ("a", "s", "0", "5", "5", "0", "0.0"),
        ("a", "t", "2", "-", "5", "5", "2.0"),
        ("a", "t", "10", "1", "4", "3", "9.0"),
        ("a", "(sum)", "", "", "", "8", "9.0"),
        ("b", "t", "0", "1", "2", "1", "?"),
        ("b", "t", "1", "1", "2", "1", "4.0"),
        ("b", "(sum)", "", "", "", "2", "?"),
    ]


def test_json_has_the_groups_with_their_partitions() -> None:
    sums = sum_groups([Lag("a", "t", 0, None, 5, 5, None)])
    partition = {
        "group": "a",
        "topic": "t",
        "partition": 0,
        "committed_offset": None,
        "end_offset": 5,
        "records_behind": 5,
        "seconds_behind": None,
    }
    assert as_json(sums) == {
        "groups": [{"group": "a", "records_behind": 5, "seconds_behind": None, "partitions": (partition,)}]
    }
