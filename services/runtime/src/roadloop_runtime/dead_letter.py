"""A record that never will work, on its way to the dead-letter topic: untouched, with headers that say why."""

from collections.abc import Sequence

from roadloop_runtime.outcome import DeadLetter
from roadloop_runtime.records import Event, Record
from roadloop_schemas.cloudevents import Header
from roadloop_schemas.topics import name_dead_letter_topic

OURS = "__dlq."
PREFIX = f"{OURS}errors."
REPLAYED_FROM = f"{OURS}replayed.from"


def to_dead_letter(group: str, record: Record, dead_letter: DeadLetter) -> Event:
    """Address a record to its dead-letter topic. Key, value and headers stay as they were.

    Only what this group says explains the letter: a record that comes with `__dlq.errors.*` headers loses them.
    A record that was replayed once keeps the header that names the letter it came from.
    Header names: Kafka's `__dlq.errors.*` (KIP-1191), and reason, field, rule and remedy beside them.
    """
    explanation = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "group": group,
        "message": dead_letter.detail,
        "reason": dead_letter.reason.value,
        "field": dead_letter.field,
        "rule": dead_letter.rule,
        "remedy": dead_letter.remedy,
    }
    kept_headers = tuple(header for header in record.headers if not header[0].startswith(PREFIX))
    added_headers = tuple(
        (PREFIX + name, text.encode(errors="backslashreplace")[:4096]) for name, text in explanation.items() if text
    )
    return Event(
        name_dead_letter_topic(group, record.topic),
        record.key,
        record.value,
        (*kept_headers, *added_headers),
        record.partition,
    )


def read_explanation(headers: tuple[Header, ...]) -> dict[str, str]:
    """Read back how `to_dead_letter` explained a record; a header without a value says nothing."""
    return {
        name.removeprefix(PREFIX): text.decode(errors="replace")
        for name, text in headers
        if name.startswith(PREFIX) and text
    }


def remove_our_headers(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """Return the headers as the sender wrote them, for a replay: what an earlier replay added goes too."""
    return tuple(header for header in headers if not header[0].startswith(OURS))


def was_replayed(headers: Sequence[Header], topic: str) -> bool:
    """Say whether a record of a topic, or its dead letter, says that it came back from a dead letter of that topic.

    What agents write themselves may say so falsely: it is counted, and decides nothing.
    """
    place = next((value for name, value in headers if name == REPLAYED_FROM), None) or b""
    dead_letter_topic_name = place.decode(errors="replace").rsplit("/", 2)[0]
    return is_dead_letter_topic(dead_letter_topic_name) and f".{dead_letter_topic_name}".endswith(f".{topic}")


def is_dead_letter_topic(name: str) -> bool:
    """Say whether a topic's name is one that `name_dead_letter_topic` makes."""
    return name.startswith(OURS.strip("_"))
