"""A record that is not what its topic promises says which field broke which rule."""

from datetime import UTC, datetime

import pytest
from pydantic import Field

from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.outcome import DeadLetter, LoopReason, Undecodable
from roadloop_runtime.records import Record
from roadloop_schemas.cloudevents import Attributes, Header, to_headers
from roadloop_schemas.fields import EventBody
from tests.builders import make_record


class Axle(EventBody):
    load_kg: int = Field(ge=0)


class Weighed(EventBody):
    axles: tuple[Axle, ...]


ENVELOPE = Attributes("e-1", "/scale", "roadloop.weighed.v1", "acme", "2026-03-01T08:00:00Z", "v-1")
HEADERS = to_headers(ENVELOPE)
decode = make_decoder(Weighed)


def record(value: bytes | None, headers: tuple[Header, ...] = HEADERS) -> Record:
    return make_record(value, topic="weighed.v1", partition=2, offset=7, headers=headers, written_at_ms=1_500)


def without(name: str) -> tuple[Header, ...]:
    return tuple(header for header in HEADERS if header[0] != name)


def test_a_good_record_comes_with_its_envelope_and_where_it_was_read() -> None:
    read = record(b'{"axles":[{"load_kg":900}],"unknown":1}')
    written_at = datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert decode(read) == Received(ENVELOPE, Weighed(axles=(Axle(load_kg=900),)), 2, 7, written_at, read)


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        pytest.param(b'{"axles":[{"load_kg":-1}]}', "axles.0.load_kg", "greater than or equal to 0", id="out-of-range"),
        pytest.param(b"{}", "axles", "Field required", id="missing"),
        pytest.param(b"[1", "(whole value)", "Invalid JSON", id="no-json"),
        pytest.param(b"", "(whole value)", "Invalid JSON", id="empty"),
        pytest.param(None, "(whole value)", "Invalid JSON", id="a-tombstone"),
    ],
)
def test_a_value_that_does_not_fit(value: bytes | None, field: str, rule: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(record(value))
    dead_letter = caught.value.dead_letter
    assert (dead_letter.reason, dead_letter.field) == (LoopReason.UNDECODABLE, field)
    assert rule in dead_letter.rule
    assert dead_letter.detail.startswith(f"Weighed: {field}: ")
    assert dead_letter.remedy == "send a value that fits the JSON Schema of Weighed, then replay"


@pytest.mark.parametrize(
    ("headers", "field", "rule"),
    [
        pytest.param((), "ce_specversion", "this header is required (CloudEvents 1.0, binary mode)", id="no-headers"),
        pytest.param(
            without("ce_tenant"), "ce_tenant", "this header is required (CloudEvents 1.0, binary mode)", id="no-tenant"
        ),
        pytest.param((*HEADERS, ("ce_specversion", b"0.3")), "ce_specversion", "must be 1.0", id="old-version"),
        pytest.param((*HEADERS, ("ce_id", b"\xff")), "ce_id", "must be UTF-8", id="no-utf-8"),
    ],
)
def test_an_envelope_that_is_none(headers: tuple[Header, ...], field: str, rule: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(record(b'{"axles":[]}', headers))
    assert caught.value.dead_letter == DeadLetter(
        LoopReason.NOT_A_CLOUD_EVENT,
        f"{field}: {rule}",
        field,
        rule,
        "send the event in CloudEvents 1.0 binary mode with a ce_tenant header, then replay",
    )
