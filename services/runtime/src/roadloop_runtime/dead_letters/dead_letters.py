"""Dead letters as values: what one says, how many there are of a reason, and what a replay of one writes."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple

from roadloop_runtime.dead_letter import REPLAYED_FROM, read_explanation, remove_our_headers
from roadloop_runtime.records import Event, Partition, Record
from roadloop_schemas.cloudevents import Header
from roadloop_schemas.topics import RUNTIME_REPLAYS

REPLAYS = RUNTIME_REPLAYS
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
class DeadLetterRecord:
    """One dead letter; `explanation` is what its group gave as reason, field, rule, remedy and so on."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    explanation: Mapping[str, str]

    @property
    def reason(self) -> str:
        return self.explanation.get("reason", NO_REASON)

    @property
    def event_id(self) -> str:
        """Return the id that the record's sender gave it; empty where it gave none."""
        return (dict(self.headers).get("ce_id") or b"").decode(errors="replace")

    @property
    def origin(self) -> Partition | None:
        """Return the partition the record came from; None where the letter does not say."""
        topic, partition = self.explanation.get("topic", ""), self.explanation.get("partition", "")
        return Partition(topic, int(partition)) if topic and partition.isdecimal() else None


def read_dead_letter(record: Record) -> DeadLetterRecord:
    """Read a record of a dead-letter topic."""
    place = Place(record.topic, record.partition, record.offset, record.timestamp)
    headers = tuple(record.headers)
    return DeadLetterRecord(place, record.key, record.value, headers, read_explanation(headers))


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


def add_to_count(counts: Mapping[str, Count], dead_letter: DeadLetterRecord, replayed: frozenset[Place]) -> Count:
    """Add one letter to the count of its reason; `counts` are those of the letter's topic, by reason."""
    at_ms, again = dead_letter.place.written_at_ms, int(dead_letter.place in replayed)
    count = counts.get(dead_letter.reason)
    if count is None:
        return Count(dead_letter.place.topic, dead_letter.reason, 1, again, at_ms, at_ms)
    return Count(
        count.topic,
        count.reason,
        count.letters + 1,
        count.replayed + again,
        min(count.first_at_ms, at_ms),
        max(count.last_at_ms, at_ms),
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

    def takes(self, dead_letter: DeadLetterRecord) -> bool:
        """Say whether a letter is among the chosen ones."""
        return (
            self.reason in (None, dead_letter.reason)
            and self.rule in (None, dead_letter.explanation.get("rule", ""))
            and self.event_id in (None, dead_letter.event_id)
            and self.partition in (None, dead_letter.place.partition)
            and self.first <= dead_letter.place.offset <= self.last
        )


class Fate(StrEnum):
    """What a replay does with a letter."""

    REPLAYED = "replayed"
    NOT_CHOSEN = "not_chosen"
    REPLAYED_BEFORE = "replayed_before"
    NO_ORIGIN = "no_origin"
    ORIGIN_MISSING = "origin_missing"


def decide_fate(
    dead_letter: DeadLetterRecord, choice: Choice, replayed: frozenset[Place], partitions: Mapping[str, int]
) -> Fate:
    """Say what a replay does with a letter; `partitions` are the counts of the topics there are."""
    if not choice.takes(dead_letter):
        return Fate.NOT_CHOSEN
    if dead_letter.place in replayed and not choice.again:
        return Fate.REPLAYED_BEFORE
    if dead_letter.origin is None:
        return Fate.NO_ORIGIN
    if dead_letter.origin.partition >= partitions.get(dead_letter.origin.topic, 0):
        return Fate.ORIGIN_MISSING
    return Fate.REPLAYED


def to_original_event(dead_letter: DeadLetterRecord, origin: Partition) -> Event:
    """Write the record as its sender did, to where it came from, with one header more: the letter it was."""
    headers = (*remove_our_headers(dead_letter.headers), (REPLAYED_FROM, str(dead_letter.place).encode()))
    return Event(origin.topic, dead_letter.key, dead_letter.value, headers, origin.partition)


def to_mark(dead_letter: DeadLetterRecord, replays_topic: str) -> Event:
    """Write that a letter was replayed, for the same transaction."""
    value = json.dumps({"written_at_ms": dead_letter.place.written_at_ms}).encode()
    return Event(replays_topic, str(dead_letter.place).encode(), value, (), 0)


def read_mark(record: Record) -> Place:
    """Read back what `to_mark` wrote."""
    topic, partition, offset = (record.key or b"").decode().rsplit("/", 2)
    return Place(topic, int(partition), int(offset), int(json.loads(record.value or b"")["written_at_ms"]))


def to_batch(dead_letters: Iterable[DeadLetterRecord], replays_topic: str) -> list[Event]:
    """Write letters and their marks; letters without an origin have no place in a batch."""
    written: list[Event] = []
    for dead_letter in dead_letters:
        if dead_letter.origin is not None:
            written += [to_original_event(dead_letter, dead_letter.origin), to_mark(dead_letter, replays_topic)]
    return written


def count_bytes(dead_letter: DeadLetterRecord) -> int:
    """Return about how many bytes a letter takes in a batch."""
    headers = sum(len(name) + len(value or b"") for name, value in dead_letter.headers)
    return len(dead_letter.key or b"") + len(dead_letter.value or b"") + headers


def counts_as_json(counts: Iterable[Count]) -> dict[str, object]:
    """Return what a program reads, by topic."""
    topics: dict[str, list[object]] = {}
    for count in counts:
        row = asdict(count)
        topics.setdefault(row.pop("topic"), []).append(row)
    return {"topics": [{"topic": topic, "reasons": reasons} for topic, reasons in topics.items()]}
