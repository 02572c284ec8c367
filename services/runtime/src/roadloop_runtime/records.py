"""What a loop takes in and gives out, without a word of any Kafka client."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from roadloop_schemas.cloudevents import Attributes, Header, rfc3339, to_headers
from roadloop_schemas.fields import EventBody

MAX_EVENT_BYTES = 1_000_000


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class Record(Protocol):
    """One record as it was read; `timestamp` is in milliseconds since 1970.

    A protocol, so that the client's own record passes through uncopied and a simulated broker can bring its own.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[Header]: ...
    @property
    def timestamp(self) -> int: ...


def tenant_of(record: Record) -> str:
    """Return whose record this is, as its header says; "" where it says nothing. What is no text stays recognisable."""
    return dict(record.headers).get("ce_tenant", b"").decode(errors="replace")


class Event(NamedTuple):
    """One record to write. A tuple, because one is made per record: a frozen dataclass takes twice as long.

    Without a partition the key's murmur2 hash chooses it, as Java's client does."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    partition: int | None = None


def to_cloud_event(
    topic: str,
    body: EventBody,
    *,
    id: str,
    source: str,
    tenant: str,
    key: str,
    time: datetime,
    subject: str = "",
    partition: int | None = None,
) -> Event:
    """Write a body as a CloudEvent. `time` is when it happened: given, never read from a clock."""
    attributes = Attributes(id, source, f"roadloop.{topic}", tenant, rfc3339(time), subject)
    return Event(topic, key.encode(), body.model_dump_json().encode(), to_headers(attributes), partition)
