"""Our envelope and the CloudEvents library's Kafka binding read each other's records alike."""

import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from roadloop_schemas.cloudevents import REQUIRED, Attributes, Header, NotACloudEvent, from_headers, rfc3339, to_headers

FORMAT = JSONFormat()
VALUE = {"kept": True}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
TIME = st.datetimes(timezones=st.just(UTC)).map(rfc3339)
TIMED = st.builds(Attributes, TEXT, TEXT, TEXT, TEXT, TIME, TEXT | st.just(""))  # the library adds an absent time
ENVELOPES = TIMED | st.builds(Attributes, TEXT, TEXT, TEXT, TEXT)
FULL = Attributes("e-1", "/roadloop/screen", "roadloop.frames.screened.v1", "acme", "2026-03-14T06:41:07Z", "f-1")


def without(name: str) -> list[Header]:
    return [header for header in to_headers(FULL) if header[0] != name]


def instead(name: str, value: bytes | None) -> list[Header]:
    return [*without(name), (name, value)]  # type: ignore[list-item]


@given(ENVELOPES)
def test_we_read_what_we_write(envelope: Attributes) -> None:
    assert from_headers(to_headers(envelope)) == envelope


@given(TIMED)
def test_the_library_reads_what_we_write(envelope: Attributes) -> None:
    message = KafkaMessage(dict(to_headers(envelope)), key=None, value=json.dumps(VALUE).encode())
    event = from_binary(message, FORMAT)
    time = event.get_time()
    assert time is not None
    found = Attributes(
        id=event.get_id(),
        source=event.get_source(),
        type=event.get_type(),
        tenant=event.get_extension("tenant"),
        time=rfc3339(time),
        subject=event.get_subject() or "",
    )
    assert found == envelope
    assert (event.get_specversion(), event.get_datacontenttype()) == ("1.0", "application/json")
    assert event.get_data() == VALUE


@given(TIMED)
def test_we_read_what_the_library_writes(envelope: Attributes) -> None:
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "tenant": envelope.tenant,
        "time": datetime.fromisoformat(envelope.time),
    }
    if envelope.subject:
        attributes["subject"] = envelope.subject
    message = to_binary(CloudEvent(attributes, VALUE), FORMAT)
    assert from_headers(message.headers.items()) == envelope
    assert message.headers == dict(to_headers(envelope))


def test_other_headers_and_attributes_are_ignored() -> None:
    others = [("traceparent", b"00-1-2-01"), ("ce_dataschema", b"x"), ("blob", b"\xff")]
    assert from_headers([*to_headers(FULL), *others]) == FULL


@pytest.mark.parametrize("name", ["ce_time", "ce_subject"])
@pytest.mark.parametrize("value", [b"", None])
def test_an_optional_header_without_a_value_is_not_there(name: str, value: bytes | None) -> None:
    assert from_headers(instead(name, value)) == from_headers(without(name))


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        *(pytest.param(without(name), name, id=f"no {name}") for name in REQUIRED),
        *(pytest.param(instead(name, b""), name, id=f"{name} is empty") for name in REQUIRED),
        *(pytest.param(instead(name, None), name, id=f"{name} is null") for name in REQUIRED),
        pytest.param(instead("ce_specversion", b"0.3"), "ce_specversion", id="an older version"),
        *(
            pytest.param(instead(name, b"\xff"), name, id=f"{name} is not UTF-8")
            for name in ("ce_id", "ce_source", "ce_type", "ce_tenant", "ce_time", "ce_subject")
        ),
        pytest.param([], "ce_specversion", id="no headers"),
        pytest.param(
            [("content-type", b"application/cloudevents+json")], "ce_specversion", id="structured mode is not read"
        ),
    ],
)
def test_a_refusal_names_the_header(headers: list[Header], field: str) -> None:
    with pytest.raises(NotACloudEvent) as refused:
        from_headers(headers)
    assert refused.value.field == field
    assert str(refused.value) == f"{field}: {refused.value.rule}"
