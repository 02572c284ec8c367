"""Completions on Kafka that are refused as a whole: each is one dead letter with its reason; the next goes through."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from jwt.utils import base64url_encode

from ingest.signature import make_key
from roadloop_schemas.cloudevents import Header
from roadloop_world.actors import fleet
from roadloop_world.actors.subscriber import read_topic
from tests.waiting import LONG_TEST_S

from .conftest import (
    TENANT,
    Road,
    a_name,
    body,
    file,
    noise,
    picture,
    signed,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(LONG_TEST_S),
    pytest.mark.usefixtures("books_that_balance_in_the_end"),
]
Sent = tuple[bytes, tuple[Header, ...]]
GOOD = noise()


def good_body(road: Road, car: fleet.Vehicle, upload_id: str = "") -> dict[str, Any]:
    uri = f"s3://uploads/{car.tenant}/{car.name}/x"
    return body(car, upload_id or a_name("up"), file(uri, GOOD))


async def not_json(road: Road) -> Sent:
    return signed(road.car, b"{not JSON")


async def mistyped(road: Road) -> Sent:
    said = good_body(road, road.car)
    said["files"][0]["object"]["size_bytes"] = "many"
    return signed(road.car, said)


async def without_envelope(road: Road) -> Sent:
    value, headers = signed(road.car, good_body(road, road.car))
    return value, tuple(header for header in headers if not header[0].startswith("ce_"))


async def unsigned(road: Road) -> Sent:
    value, headers = signed(road.car, good_body(road, road.car))
    return value, tuple(header for header in headers if header[0] != "jws")


async def by_another_vehicle(road: Road) -> Sent:
    return signed(road.car, good_body(road, road.car), by=await road.enrol())


async def by_another_key(road: Road) -> Sent:
    return signed(road.car, good_body(road, road.car), by=await road.enrol(), kid=f"{TENANT}/{road.car.name}")


async def unknown_vehicle(road: Road) -> Sent:
    stranger = fleet.Vehicle(TENANT, a_name("stranger"), make_key()[0])
    return signed(stranger, good_body(road, stranger))


async def unknown_tenant(road: Road) -> Sent:
    stranger = fleet.Vehicle("no\x00where", road.car.name, road.car.private_key)
    return signed(stranger, good_body(road, stranger))


async def revoked_vehicle(road: Road) -> Sent:
    return signed(car := await road.enrol_revoked(), good_body(road, car))


async def changed_after_signing(road: Road) -> Sent:
    value, headers = signed(road.car, good_body(road, road.car))
    return value.replace(b"d-1", b"d-2"), headers


async def token_for_a_signature(road: Road) -> Sent:
    value, headers = await unsigned(road)
    return value, (*headers, ("jws", road.car.token().encode()))


async def unspeakable_key_id(road: Road) -> Sent:
    value, headers = await unsigned(road)
    return value, (*headers, ("jws", base64url_encode(b'{"alg":"EdDSA","kid":"\\ud800"}') + b"..AA"))


async def another_vehicles_upload(road: Road) -> Sent:
    upload_id = a_name("up")
    await road.put(upload_id, [picture()], await road.enrol())
    return signed(road.car, good_body(road, road.car, upload_id))


@pytest.mark.parametrize(
    ("make", "reason", "field", "rule"),
    [
        pytest.param(not_json, "undecodable", "(whole value)", "Invalid JSON", id="not-json"),
        pytest.param(mistyped, "undecodable", "files.0.object.size_bytes", "valid integer", id="a-word-for-a-number"),
        pytest.param(without_envelope, "not_a_cloud_event", "ce_specversion", "required", id="without-an-envelope"),
        pytest.param(unsigned, "unsigned", "jws", "signed", id="unsigned"),
        pytest.param(by_another_vehicle, "foreign_vehicle", "jws", "signed", id="signed-by-another-vehicle"),
        pytest.param(by_another_key, "wrong_signature", "jws", "signed", id="signed-by-anothers-key"),
        pytest.param(unknown_vehicle, "unknown_vehicle", "jws", "signed", id="a-vehicle-nobody-enrolled"),
        pytest.param(unknown_tenant, "unknown_vehicle", "jws", "signed", id="a-tenant-that-cannot-be"),
        pytest.param(revoked_vehicle, "revoked_vehicle", "jws", "signed", id="a-revoked-vehicle"),
        pytest.param(changed_after_signing, "wrong_signature", "jws", "signed", id="changed-after-signing"),
        pytest.param(token_for_a_signature, "wrong_signature", "jws", "signed", id="a-token-for-a-signature"),
        pytest.param(unspeakable_key_id, "foreign_vehicle", "jws", "signed", id="a-key-id-no-text-can-hold"),
        pytest.param(another_vehicles_upload, "foreign_vehicle", "jws", "signed", id="another-vehicles-upload"),
    ],
)
async def test_a_completion_that_is_refused(
    road: Road, make: Callable[[Road], Awaitable[Sent]], reason: str, field: str, rule: str
) -> None:
    value, headers = await make(road)
    dead_letter = await road.dead_letter(await road.send(value, headers))
    assert (dead_letter["reason"], dead_letter["field"]) == (reason, field)
    assert rule in dead_letter["rule"]
    assert dead_letter["remedy"]
    await road.still_goes_on()
    assert not [unit for unit in await read_topic(road.bootstrap, "frames.ingested.v1") if unit.value == value]


async def test_noise_of_every_kind(road: Road) -> None:
    """Forty random records, each a dead letter of its own, and the next good one goes through."""
    dice = random.Random(1)
    value, headers = signed(road.car, good_body(road, road.car))
    sent = []
    for _ in range(40):
        noisy = bytearray(value)
        for _ in range(dice.randrange(1, 20)):
            noisy[dice.randrange(len(noisy))] = dice.randrange(256)
        mixed = [(name, dice.randbytes(9) if dice.random() < 0.1 else content) for name, content in headers]
        sent.append(await road.send(bytes(noisy), mixed))
    await road.still_goes_on()
    letters = await road.letters("ingest", "uploads.completed.v1", sent[0].partition)
    offsets = [int(dead_letter["offset"]) for dead_letter in letters]
    assert [offsets.count(record.offset) for record in sent] == [1] * len(sent)
