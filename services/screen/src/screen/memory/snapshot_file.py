"""A snapshot of memory as a file: what one partition of its topic says up to an offset. Pure.

The topic is the truth, and read from its start it says the same. A snapshot spares reading what the broker has not
compacted yet, however far behind it is.
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from roadloop_runtime.records import Record
from screen.memory.entries import NOTHING, newest_of

# What is forgotten stays in the topic as a tombstone for 24 hours. A snapshot from before that would remember it.
USABLE_FOR = timedelta(hours=20)
YOUNG_FOR = timedelta(hours=10)


class BadSnapshot(Exception):
    """A file is no snapshot, or not all of one."""


class Head(BaseModel):
    """The first line of the file. `offset` is that of the next entry; `entries` are as many lines as follow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    taken_at: AwareDatetime
    entries: int = Field(ge=0)

    def is_usable(self, now: datetime) -> bool:
        return now - self.taken_at < USABLE_FOR

    def is_young(self, now: datetime) -> bool:
        """Say whether it will be usable for as long again: one that is not has to be taken anew, grown or not."""
        return now - self.taken_at < YOUNG_FOR


class Snapshot(NamedTuple):
    """The newest value of each key."""

    head: Head
    entries: Mapping[bytes, bytes]


def extend_snapshot(snapshot: Snapshot | None, records: Sequence[Record], *, partition: int, now: datetime) -> Snapshot:
    """Return a snapshot with the records that came since; `now` is before they were read."""
    known_entries = snapshot.entries if snapshot else NOTHING
    since = snapshot.head.offset if snapshot else 0
    entries = newest_of(records, known_entries)
    offset = records[-1].offset + 1 if records else since
    return Snapshot(Head(partition=partition, offset=offset, taken_at=now, entries=len(entries)), entries)


def as_file(snapshot: Snapshot) -> bytes:
    """Return a snapshot as JSON lines, gzipped: its head, then a key and a value on each."""
    lines = [snapshot.head.model_dump_json()]
    lines += [json.dumps([key.decode(), value.decode()]) for key, value in snapshot.entries.items()]
    return gzip.compress("\n".join(lines).encode(), compresslevel=1)


def of_file(content: bytes) -> Snapshot:
    """Return the snapshot in a file; raise BadSnapshot."""
    try:
        first, *rest = gzip.decompress(content).decode().split("\n")
        head = Head.model_validate_json(first)
        entries = {key.encode(): value.encode() for key, value in map(json.loads, rest)}
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zlib.error) as error:
        raise BadSnapshot(f"not a snapshot of memory: {type(error).__name__}: {error}") from error
    if len(entries) != head.entries:
        raise BadSnapshot(f"not all of a snapshot: {len(entries)} of {head.entries} entries")
    return Snapshot(head, entries)
