"""Files that are refused in an upload that is taken, and what is sent twice."""

import struct
import zlib
from typing import Any

import pytest

from roadloop_world.actors import fleet
from tests.waiting import LONG_TEST_S

from .conftest import (
    UNSERVED,
    Road,
    a_name,
    bearer,
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
GOOD = noise()
MAX_FILE_BYTES = 20 * 1024 * 1024


def bomb() -> bytes:
    """Return a PNG of a hundred bytes that announces 60000 x 60000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def at(road: Road, uri: str) -> str:
    return uri.format(own=road.prefix.removesuffix("/"))


@pytest.mark.parametrize(
    ("uri", "stored", "announced", "reason"),
    [
        pytest.param("s3://models/whole/x", None, {}, "foreign_uri", id="another-bucket"),
        pytest.param("s3://uploads/other/car-1/x", None, {}, "foreign_uri", id="another-tenants-folder"),
        pytest.param("s3://uploads/whole/other-car/x", None, {}, "foreign_uri", id="another-vehicles-folder"),
        pytest.param("{own}/../other-car/x", None, {}, "foreign_uri", id="out-of-the-folder-by-dots"),
        pytest.param("{own}/./x", None, {}, "foreign_uri", id="a-path-that-no-client-takes"),
        pytest.param("{own}/\x00x", None, {}, "foreign_uri", id="a-name-that-no-database-takes"),
        pytest.param("{own}/missing", None, {}, "object_missing", id="an-object-that-is-not-there"),
        pytest.param("{own}/corrupt", GOOD, {"sha256": "0" * 64}, "object_changed", id="another-sha256"),
        pytest.param("{own}/cut", GOOD, {"size_bytes": len(GOOD) + 1}, "object_changed", id="fewer-bytes"),
        pytest.param("{own}/grown", GOOD, {"size_bytes": len(GOOD) - 1}, "object_changed", id="more-bytes"),
        pytest.param("{own}/text", b"no picture at all", {}, "not_a_picture", id="text-for-a-picture"),
        pytest.param("{own}/half", GOOD[:-200], {}, "not_a_picture", id="a-truncated-jpeg"),
        pytest.param("{own}/bomb", bomb(), {}, "too_many_pixels", id="a-decompression-bomb"),
        pytest.param("{own}/huge", None, {"size_bytes": MAX_FILE_BYTES + 1}, "too_large", id="too-large"),
        pytest.param("{own}/film", None, {"media_type": "video/mp4"}, "unsupported_media", id="a-film"),
        pytest.param("{own}/webp", None, {"media_type": "image/webp"}, "unsupported_media", id="another-format"),
    ],
)
async def test_a_file_that_is_refused(
    road: Road, uri: str, stored: bytes | None, announced: dict[str, Any], reason: str
) -> None:
    uri, upload_id = at(road, uri), a_name("up")
    if stored is not None:
        await road.store.put("uploads", uri.removeprefix("s3://uploads/"), stored, "image/jpeg")
    await road.send(*signed(road.car, body(road.car, upload_id, file(uri, stored or GOOD, **announced))))
    assert await road.fate(upload_id) == {"announced": 1, "rejected": 1, "reasons": {reason: 1}}
    assert not await road.units_of(upload_id)
    await road.still_goes_on()


async def test_a_bad_file_does_not_spoil_its_upload(road: Road) -> None:
    upload_id, pictures = a_name("up"), [picture(), picture(b"no picture"), picture()]
    uris = await road.put(upload_id, pictures)
    await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))
    told = await road.fate(upload_id)
    assert (told["accepted"], told["rejected"], told["ingested"]) == (2, 1, 2)


async def test_the_same_picture_twice(road: Road) -> None:
    twin = picture()
    first, second = a_name("up"), a_name("up")
    for upload_id, pictures in ((first, [twin, twin]), (second, [twin])):
        uris = await road.put(upload_id, pictures)
        await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))
    told = await road.fate(first)
    assert (told["accepted"], told["duplicate"], told["ingested"]) == (1, 1, 1)
    assert await road.fate(second) == {"announced": 1, "duplicate": 1, "reasons": {"duplicate": 1}}


async def test_an_upload_completed_many_times_has_one_effect(road: Road) -> None:
    upload_id, pictures = a_name("up"), [picture(), picture()]
    uris = await road.put(upload_id, pictures)
    done = fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures)
    for _ in range(2):
        answer = await road.client.post(f"/v1/uploads/{upload_id}/complete", headers=bearer(road.car.token()))
        assert answer.status_code == 200
        await road.send(*done)
    await road.still_goes_on()
    told = await road.fate(upload_id)
    assert (told["announced"], told["accepted"], told["ingested"]) == (2, 2, 2)
    assert len(await road.units_of(upload_id)) == 1


async def test_two_tenants_may_choose_the_same_upload_id(road: Road) -> None:
    upload_id = a_name("up")
    (other,) = await fleet.enrol(road.whole.stack.postgres_dsn("ingest"), UNSERVED, [road.car.name])
    for car in (road.car, other):
        pictures = [picture()]
        uris = await road.put(upload_id, pictures, car)
        await road.send(*fleet.sign_completion(car, upload_id, "d-1", uris, pictures))
    assert (await road.fate(upload_id))["accepted"] == 1
    assert (await road.fate(upload_id, other))["accepted"] == 1
