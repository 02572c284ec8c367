"""How far consumer groups are behind, as values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from roadloop_runtime.records import Partition


@dataclass(frozen=True, slots=True)
class Log:
    """The first offset of a partition and the one behind its last, transaction markers included."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lag:
    """Where one group stands in one partition.

    committed_offset: None where the group has none: our loops begin at the log's start then.
    seconds_behind: age of the first unread committed record; 0 where none is unread, None where it was not to be had.
    """

    group: str
    topic: str
    partition: int
    committed_offset: int | None
    end_offset: int
    records_behind: int
    seconds_behind: float | None


@dataclass(frozen=True, slots=True)
class GroupLag:
    """The sum of a group's records, and the age of the oldest."""

    group: str
    records_behind: int
    seconds_behind: float | None
    partitions: tuple[Lag, ...]


def find_next_offsets(committed: Mapping[Partition, int], logs: Mapping[Partition, Log]) -> Mapping[Partition, int]:
    """Return the offset each partition's next read begins at, for those with something behind it."""
    begins = {partition: max(committed.get(partition, log.start), log.start) for partition, log in logs.items()}
    return {partition: offset for partition, offset in begins.items() if offset < logs[partition].end}


def measure_lag(
    group: str,
    partition: Partition,
    *,
    committed: int | None,
    log: Log,
    seconds_behind: float | None,
) -> Lag:
    """Compare a committed offset with a log. A group may be ahead only of a log that was made anew: that is 0."""
    behind = max(0, log.end - (log.start if committed is None else committed))
    return Lag(group, *partition, committed, log.end, behind, seconds_behind)


def seconds_since(written_at_ms: int | None, now_ms: int) -> float:
    """Return the age of a record in seconds; 0 without one, or where its writer's clock is ahead of ours."""
    return 0.0 if written_at_ms is None else max(0.0, (now_ms - written_at_ms) / 1000)


def sum_groups(lags: Iterable[Lag]) -> Sequence[GroupLag]:
    """Sum up per group; groups, topics and partitions come out sorted."""
    ordered = sorted(lags, key=lambda lag: (lag.group, lag.topic, lag.partition))
    return [_sum(group, tuple(group_lags)) for group, group_lags in groupby(ordered, key=lambda lag: lag.group)]


def _sum(group: str, lags: tuple[Lag, ...]) -> GroupLag:
    ages = [lag.seconds_behind for lag in lags if lag.seconds_behind is not None]
    oldest = max(ages) if len(ages) == len(lags) else None
    return GroupLag(group, sum(lag.records_behind for lag in lags), oldest, lags)


TITLES = ("group", "topic", "partition", "committed", "end", "records behind", "seconds behind")


def to_rows(sums: Iterable[GroupLag]) -> list[tuple[str, ...]]:
    """Write each partition as a row, and under a group's rows its sum."""
    written: list[tuple[str, ...]] = []
    for total in sums:
        written += [_to_row(lag) for lag in total.partitions]
        written.append(
            (total.group, "(sum)", "", "", "", str(total.records_behind), _format_seconds(total.seconds_behind)),
        )
    return written


def _to_row(lag: Lag) -> tuple[str, ...]:
    committed = "-" if lag.committed_offset is None else str(lag.committed_offset)
    numbers = (str(lag.partition), committed, str(lag.end_offset), str(lag.records_behind))
    return (lag.group, lag.topic, *numbers, _format_seconds(lag.seconds_behind))


def _format_seconds(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.1f}"


def as_json(sums: Iterable[GroupLag]) -> dict[str, object]:
    """Return what a program reads."""
    return {"groups": [asdict(total) for total in sums]}
