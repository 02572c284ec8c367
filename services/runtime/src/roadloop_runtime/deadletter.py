"""A record that never will work, on its way to the dead-letter topic: untouched, with headers that say why."""

from roadloop_runtime.outcome import DeadLetter
from roadloop_runtime.records import Event, Record
from roadloop_schemas.cloudevents import Header
from roadloop_schemas.topics import dead_letter_topic

PREFIX = "__dlq.errors."


def to_dead_letter(group: str, record: Record, letter: DeadLetter) -> Event:
    """Address a record to its dead-letter topic. Key, value and headers stay as they were.

    Header names: Kafka's `__dlq.errors.*` (KIP-1191), and reason, field, rule and remedy beside them.
    """
    said = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "group": group,
        "message": letter.detail,
        "reason": letter.reason.value,
        "field": letter.field,
        "rule": letter.rule,
        "remedy": letter.remedy,
    }
    added = tuple((PREFIX + name, text.encode()[:4096]) for name, text in said.items() if text)
    return Event(
        dead_letter_topic(group, record.topic),
        record.key,
        record.value,
        (*record.headers, *added),
        record.partition,
    )


def explain(headers: tuple[Header, ...]) -> dict[str, str]:
    """Read back what `to_dead_letter` said."""
    return {
        name.removeprefix(PREFIX): text.decode(errors="replace") for name, text in headers if name.startswith(PREFIX)
    }


def original_headers(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """Return the headers as the sender wrote them, for a replay."""
    return tuple(header for header in headers if not header[0].startswith(PREFIX))
