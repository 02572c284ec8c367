"""CloudEvents 1.0 over Kafka, binary mode: attributes are headers named ce_*, the body is the value.

Source: CloudEvents Kafka Protocol Binding 1.0.2, section 3.2. Written out because it runs once per record
on the hot path; a contract test compares it with the `cloudevents` library.
"""

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

Header = tuple[str, bytes]
_CONTENT_TYPE: Header = ("content-type", b"application/json")
_VERSION: Header = ("ce_specversion", b"1.0")
REQUIRED = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_tenant")
_READ = (*REQUIRED, "ce_time", "ce_subject")


class NotACloudEvent(ValueError):
    """A header is missing or wrong. `field` names it, `rule` says what it must be."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class Attributes(NamedTuple):
    """The envelope. `id` is unique within `source`; `time` is when the thing happened, RFC 3339.

    A tuple, because one is made per record: a frozen dataclass takes three times as long.
    """

    id: str
    source: str
    type: str
    tenant: str
    time: str = ""
    subject: str = ""


def to_headers(attributes: Attributes) -> tuple[Header, ...]:
    """Write the envelope as Kafka headers."""
    headers = [
        _CONTENT_TYPE,
        _VERSION,
        ("ce_id", attributes.id.encode()),
        ("ce_source", attributes.source.encode()),
        ("ce_type", attributes.type.encode()),
        ("ce_tenant", attributes.tenant.encode()),
    ]
    if attributes.time:
        headers.append(("ce_time", attributes.time.encode()))
    if attributes.subject:
        headers.append(("ce_subject", attributes.subject.encode()))
    return tuple(headers)


def from_headers(headers: Iterable[Header]) -> Attributes:
    """Read the envelope; of a header given twice the last counts, and one without a value is not there.

    Raises NotACloudEvent where a required attribute is missing or not UTF-8, or the version is not 1.0.
    """
    values = {name: value for name, value in headers if value}
    for name in REQUIRED:
        if name not in values:
            raise NotACloudEvent(name, "this header is required (CloudEvents 1.0, binary mode)")
    if values["ce_specversion"] != b"1.0":
        raise NotACloudEvent("ce_specversion", "must be 1.0")
    try:
        return Attributes(
            id=values["ce_id"].decode(),
            source=values["ce_source"].decode(),
            type=values["ce_type"].decode(),
            tenant=values["ce_tenant"].decode(),
            time=values.get("ce_time", b"").decode(),
            subject=values.get("ce_subject", b"").decode(),
        )
    except UnicodeDecodeError as error:
        bad_name = next(name for name, value in values.items() if name in _READ and value == error.object)
        raise NotACloudEvent(bad_name, "must be UTF-8") from error


def rfc3339(moment: datetime) -> str:
    """Write an aware time as CloudEvents wants it."""
    return moment.isoformat().replace("+00:00", "Z")


def derive_id(*parts: object) -> str:
    """Return the id of an effect from what caused it: the same cause gives the same id at every replay."""
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()
