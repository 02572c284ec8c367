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


def in_order(files: Iterable[Stretch]) -> list[Stretch]:
    """Return stretches by their offsets; files whose offsets overlap are one.

    They do where verdicts of an earlier day, of a replay say, came between those of today: a file holds one day.
    """
    found: list[Stretch] = []
    for file in sorted(files, key=lambda one: one.first):
        if found and file.first <= found[-1].last:
            found[-1] = _together(found[-1], file)
        else:
            found.append(file)
    return found


def worth_merging(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return stretches of small files, one after the other, that are to become one file each, or one per day."""
    groups: list[list[Stretch]] = [[]]
    for stretch in stretches:
        if stretch.bytes >= SMALL_BYTES or sum(one.bytes for one in groups[-1]) >= LARGE_BYTES:
            groups.append([])
        if stretch.bytes < SMALL_BYTES:
            groups[-1].append(stretch)
    merged = [_all_together(group) for group in groups if group]
    return [stretch for stretch in merged if len(stretch.files) - len(stretch.days) >= WORTH_IT]


def _all_together(group: Sequence[Stretch]) -> Stretch:
    whole = group[0]
    for stretch in group[1:]:
        whole = _together(whole, stretch)
    return whole


def _together(one: Stretch, other: Stretch) -> Stretch:
    last = max(one.last, other.last)
    return Stretch(one.first, last, one.bytes + other.bytes, (*one.files, *other.files), one.days | other.days)
