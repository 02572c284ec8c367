"""Records that never will work: they cannot be read, break our code, or make events that no broker takes."""

from collections.abc import Sequence
from typing import Any

import structlog

from roadloop_runtime.handler import Handler
from roadloop_runtime.outcome import DeadLetter, LoopReason, Undecodable
from roadloop_runtime.records import MAX_EVENT_BYTES, Event, Record

log = structlog.get_logger()


def blame_handler(error: BaseException) -> DeadLetter:
    """Say that our own code broke on a record."""
    return DeadLetter(
        LoopReason.HANDLER_FAILED,
        detail=f"{type(error).__name__}: {error}",
        remedy="this is a bug of the consumer: mend it, deploy, then replay",
    )


def decode(handler: Handler[Any, Any, Any, Any], record: Record) -> Any:
    """Return a record's body, or the DeadLetter that says why it has none."""
    try:
        return handler.decode(record)
    except Undecodable as error:
        return error.dead_letter
    except Exception as error:
        log.exception("decode_failed", topic=record.topic, partition=record.partition, offset=record.offset)
        return blame_handler(error)


def refuse_too_large(events: Sequence[Event]) -> DeadLetter | None:
    """Say why events cannot be written, if one is larger than a broker takes."""
    for event in events:
        if event.value is not None and len(event.value) > MAX_EVENT_BYTES:
            return DeadLetter(
                LoopReason.OUTPUT_TOO_LARGE,
                detail=f"an event for {event.topic} would have {len(event.value)} bytes",
                rule=f"events have at most {MAX_EVENT_BYTES} bytes",
                remedy="send smaller units",
            )
    return None
