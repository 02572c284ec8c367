"""Dead letters as values: what one says, how many there are of a reason, and what a replay of one writes."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple

from roadloop_runtime.dead_letter import REPLAYED_FROM, explain, original_headers
from roadloop_runtime.records import Event, Partition, Record
from roadloop_schemas.cloudevents import Header

REPLAYS = "runtime.replays.v1"
NO_REASON = "(none given)"


class Place(NamedTuple):
    """Where a letter lies. Offsets begin anew where a topic is made anew, so its time belongs to it."""

    topic: str
    partition: int
    offset: int
    written_at_ms: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter; `said` is what its group gave as reason, field, rule, remedy and so on."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    said: Mapping[str, str]

    @property
    def reason(self) -> str:
        return self.said.get("reason", NO_REASON)

    @property
    def event_id(self) -> str:
        """Return the id that the record's sender gave it; empty where it gave none."""
        return (dict(self.headers).get("ce_id") or b"").decode(errors="replace")

    @property
    def origin(self) -> Partition | None:
        """Return the partition the record came from; None where the letter does not say."""
        topic, partition = self.said.get("topic", ""), self.said.get("partition", "")
        return Partition(topic, int(partition)) if topic and partition.isdecimal() else None


def read_letter(record: Record) -> Letter:
    """Read a record of a dead-letter topic."""
    place = Place(record.topic, record.partition, record.offset, record.timestamp)
    headers = tuple(record.headers)
    return Letter(place, record.key, record.value, headers, explain(headers))


# --- counting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """How many letters of one topic have one reason, and when the first and the last were written."""

    topic: str
    reason: str
    letters: int
    replayed: int
    first_at_ms: int
    last_at_ms: int


def count(counts: Mapping[str, Count], letter: Letter, replayed: frozenset[Place]) -> Count:
    """Add one letter to the count of its reason; `counts` are those of the letter's topic, by reason."""
    at_ms, again = letter.place.written_at_ms, int(letter.place in replayed)
    old = counts.get(letter.reason)
    if old is None:
        return Count(letter.place.topic, letter.reason, 1, again, at_ms, at_ms)
    return Count(
        old.topic,
        old.reason,
        old.letters + 1,
        old.replayed + again,
        min(old.first_at_ms, at_ms),
        max(old.last_at_ms, at_ms),
    )


# --- replaying ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a replay takes: those that are all of what is given. `again` takes those replayed before too.

    `rule` is the rule that was broken, word for word; `event_id` the record's `ce_id`; `first` and `last` are offsets
    of letters, both included.
    """

    reason: str | None = None
    rule: str | None = None
    event_id: str | None = None
    partition: int | None = None
    first: int = 0
    last: float = math.inf
    again: bool = False

    def takes(self, letter: Letter) -> bool:
        """Say whether a letter is among the chosen ones."""
        return (
            self.reason in (None, letter.reason)
            and self.rule in (None, letter.said.get("rule", ""))
            and self.event_id in (None, letter.event_id)
            and self.partition in (None, letter.place.partition)
            and self.first <= letter.place.offset <= self.last
        )


class Fate(StrEnum):
    """What a replay does with a letter."""

    REPLAYED = "replayed"
    NOT_CHOSEN = "not_chosen"
    REPLAYED_BEFORE = "replayed_before"
    NO_ORIGIN = "no_origin"
    ORIGIN_MISSING = "origin_missing"


def fate(letter: Letter, choice: Choice, replayed: frozenset[Place], partitions: Mapping[str, int]) -> Fate:
    """Say what a replay does with a letter; `partitions` are the counts of the topics there are."""
    if not choice.takes(letter):
        return Fate.NOT_CHOSEN
    if letter.place in replayed and not choice.again:
        return Fate.REPLAYED_BEFORE
    if letter.origin is None:
        return Fate.NO_ORIGIN
    if letter.origin.partition >= partitions.get(letter.origin.topic, 0):
        return Fate.ORIGIN_MISSING
    return Fate.REPLAYED


def as_sent(letter: Letter, origin: Partition) -> Event:
    """Write the record as its sender did, to where it came from, with one header more: the letter it was."""
    headers = (*original_headers(letter.headers), (REPLAYED_FROM, str(letter.place).encode()))
    return Event(origin.topic, letter.key, letter.value, headers, origin.partition)


def mark(letter: Letter, replays_topic: str) -> Event:
    """Write that a letter was replayed, for the same transaction."""
    value = json.dumps({"written_at_ms": letter.place.written_at_ms}).encode()
    return Event(replays_topic, str(letter.place).encode(), value, (), 0)


def read_mark(record: Record) -> Place:
    """Read back what `mark` wrote."""
    topic, partition, offset = (record.key or b"").decode().rsplit("/", 2)
    return Place(topic, int(partition), int(offset), int(json.loads(record.value or b"")["written_at_ms"]))


def batch_of(letters: Iterable[Letter], replays_topic: str) -> list[Event]:
    """Write letters and their marks; letters without an origin have no place in a batch."""
    written: list[Event] = []
    for letter in letters:
        if letter.origin is not None:
            written += [as_sent(letter, letter.origin), mark(letter, replays_topic)]
    return written


def size_bytes(letter: Letter) -> int:
    """Return about how many bytes a letter takes in a batch."""
    headers = sum(len(name) + len(value or b"") for name, value in letter.headers)
    return len(letter.key or b"") + len(letter.value or b"") + headers


def counts_as_json(counts: Iterable[Count]) -> dict[str, object]:
    """Return what a program reads, by topic."""
    topics: dict[str, list[object]] = {}
    for found in counts:
        row = asdict(found)
        topics.setdefault(row.pop("topic"), []).append(row)
    return {"topics": [{"topic": topic, "reasons": reasons} for topic, reasons in topics.items()]}
