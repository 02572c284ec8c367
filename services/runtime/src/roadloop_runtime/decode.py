"""Read a record as the event its topic promises, or say what is wrong with it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from roadloop_runtime.dead_letter import was_replayed
from roadloop_runtime.outcome import DeadLetter, LoopReason, Undecodable
from roadloop_runtime.records import Record
from roadloop_schemas.cloudevents import Attributes, NotACloudEvent, from_headers
from roadloop_schemas.fields import EventBody

B = TypeVar("B", bound=EventBody)


class Received(NamedTuple, Generic[B]):
    """One event with its envelope and where it was read. `written_at` is the record's timestamp."""

    envelope: Attributes
    body: B
    partition: int
    offset: int
    written_at: datetime
    record: Record

    @property
    def replayed(self) -> bool:
        """Say whether it was a dead letter before."""
        return was_replayed(self.record.headers, self.record.topic)


def make_decoder(model: type[B]) -> Callable[[Record], Received[B]]:
    """Make the decoder of one topic."""

    def decode(record: Record) -> Received[B]:
        try:
            envelope = from_headers(record.headers)
            written_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            body = model.model_validate_json(record.value or b"")
        except NotACloudEvent as error:
            raise Undecodable(_explain_not_a_cloud_event(error)) from error
        except ValidationError as error:
            raise Undecodable(_explain_invalid(model, error)) from error
        except (ValueError, OverflowError, OSError) as error:
            raise Undecodable(_explain_timeless(record.timestamp)) from error
        return Received(envelope, body, record.partition, record.offset, written_at, record)

    return decode


def _explain_not_a_cloud_event(error: NotACloudEvent) -> DeadLetter:
    return DeadLetter(
        LoopReason.NOT_A_CLOUD_EVENT,
        detail=str(error),
        field=error.field,
        rule=error.rule,
        remedy="send the event in CloudEvents 1.0 binary mode with a ce_tenant header, then replay",
    )


def _explain_invalid(model: type[EventBody], error: ValidationError) -> DeadLetter:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"])) or "(whole value)"
    return DeadLetter(
        LoopReason.UNDECODABLE,
        detail=f"{model.__name__}: {field}: {first['msg']} ({error.error_count()} in all)",
        field=field,
        rule=first["msg"],
        remedy=f"send a value that fits the JSON Schema of {model.__name__}, then replay",
    )


def _explain_timeless(timestamp_ms: int) -> DeadLetter:
    return DeadLetter(
        LoopReason.UNDECODABLE,
        detail=f"the record's timestamp {timestamp_ms} ms is no date of the years 1 to 9999",
        field="timestamp",
        rule="must be milliseconds since 1970",
        remedy="let the client stamp the record, then replay",
    )
