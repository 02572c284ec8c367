"""Which files of history belong together. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SMALL_BYTES = 4 * 1024 * 1024
LARGE_BYTES = 16 * 1024 * 1024  # some 100 MiB in memory while they are merged
WORTH_IT = 8  # files fewer


@dataclass(frozen=True, slots=True)
class Stretch:
    """Files of one Kafka partition with the offsets from `first` to `last`, both in it; `bytes` on disk in all."""

    first: int
    last: int
    bytes: int
    files: tuple[int, ...]  # their places in the list that they came in
    days: frozenset[int] = frozenset()  # a file holds one day, so there will be one for each


def join_overlapping(files: Iterable[Stretch]) -> list[Stretch]:
    """Return stretches by their offsets; files whose offsets overlap are one.

    They do where verdicts of an earlier day, of a replay say, came between those of today: a file holds one day.
    """
    stretches: list[Stretch] = []
    for file in sorted(files, key=lambda file: file.first):
        if stretches and file.first <= stretches[-1].last:
            stretches[-1] = _join(stretches[-1], file)
        else:
            stretches.append(file)
    return stretches


def select_worth_merging(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return stretches of small files, one after the other, that are to become one file each, or one per day."""
    groups: list[list[Stretch]] = [[]]
    for stretch in stretches:
        if stretch.bytes >= SMALL_BYTES or sum(member.bytes for member in groups[-1]) >= LARGE_BYTES:
            groups.append([])
        if stretch.bytes < SMALL_BYTES:
            groups[-1].append(stretch)
    merged = [_join_all(group) for group in groups if group]
    return [stretch for stretch in merged if len(stretch.files) - len(stretch.days) >= WORTH_IT]


def _join_all(group: Sequence[Stretch]) -> Stretch:
    whole = group[0]
    for stretch in group[1:]:
        whole = _join(whole, stretch)
    return whole


def _join(stretch: Stretch, other: Stretch) -> Stretch:
    last = max(stretch.last, other.last)
    return Stretch(
        stretch.first, last, stretch.bytes + other.bytes, (*stretch.files, *other.files), stretch.days | other.days
    )
