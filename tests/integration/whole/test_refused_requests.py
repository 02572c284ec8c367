"""Requests to ingest that are refused: each answer says what is wrong, where, and what to do."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.utils import base64url_encode

from ingest.signature import make_token
from roadloop_agent import Picture
from roadloop_world.actors import fleet
from tests.waiting import GUARD_S, LONG_TEST_S

from .conftest import (
    TENANT,
    UNSERVED,
    Road,
    Whole,
    a_name,
    bearer,
    noise,
    picture,
)
from .problems import refused

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(LONG_TEST_S),
    pytest.mark.usefixtures("books_that_balance_in_the_end"),
]
GOOD = noise()
MAX_FILE_BYTES = 20 * 1024 * 1024


def manifest(upload_id: str, *pictures: Picture, **changes: Any) -> dict[str, Any]:
    return {"upload_id": upload_id, "drive": "d-1", "files": [p.announce() for p in pictures]} | changes


async def test_without_a_good_token_nothing_is_taken(road: Road) -> None:
    revoked, now = await road.enrol_revoked(), datetime.now(UTC)
    car, odd_kid = road.car, base64url_encode(b'{"alg":"EdDSA","kid":"whole/a\\u0000b"}').decode()
    headers = [
        "",
        "Basic x",
        "Bearer noise",
        f"Bearer {odd_kid}.e30.AA",
        f"Bearer {revoked.token()}",
        f"Bearer {make_token(car.tenant, car.name, car.private_key, now - timedelta(days=1))}",
        f"Bearer {make_token(car.tenant, car.name, revoked.private_key, now)}",
        f"Bearer {make_token(UNSERVED, car.name, car.private_key, now)}",
    ]
    for authorization in headers:
        answer = await road.client.post(
            "/v1/uploads", json=manifest(a_name("up"), picture()), headers={"Authorization": authorization}
        )
        assert "token" in refused(answer, 401, "unauthenticated")
    await road.still_goes_on()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_vehicles_upload_is_not_there(road: Road, method: str) -> None:
    upload_id = a_name("up")
    await road.put(upload_id, [picture()], await road.enrol())
    path = f"/v1/uploads/{upload_id}" + ("/complete" if method == "POST" else "")
    answer = await road.client.request(method, path, headers=bearer(road.car.token()))
    assert upload_id in refused(answer, 404, "upload-unknown")


async def test_the_same_upload_id_with_other_files(road: Road) -> None:
    upload_id = a_name("up")
    await road.put(upload_id, [picture()])
    again = await road.client.post("/v1/uploads", json=manifest(upload_id, picture()), headers=bearer(road.car.token()))
    assert "choose a new upload_id" in refused(again, 409, "upload-id-taken")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        pytest.param(b"{", "JSON decode error", id="half-a-document"),
        pytest.param(b"[]", "the body", id="a-list"),
        pytest.param(json.dumps(manifest("../x", picture())).encode(), "upload_id", id="a-path-for-an-id"),
        pytest.param(json.dumps(manifest("up-1")).encode(), "files", id="no-files"),
        pytest.param(
            json.dumps(manifest("up-1", picture(media_type="image/gif"))).encode(),
            "files.0.media_type",
            id="another-format",
        ),
        pytest.param(
            json.dumps(manifest("up-1", files=[picture().announce() | {"size_bytes": float("nan")}])).encode(),
            "files.0.size_bytes",
            id="not-a-number",
        ),
    ],
)
async def test_a_manifest_that_is_refused_says_what_where_and_what_to_do(
    road: Road, content: bytes, where: str
) -> None:
    headers = bearer(road.car.token()) | {"Content-Type": "application/json"}
    detail = refused(await road.client.post("/v1/uploads", content=content, headers=headers), 422, "invalid-request")
    assert where in detail
    assert "/openapi.json" in detail


async def test_a_file_too_large_is_refused_before_it_is_sent(road: Road) -> None:
    files = [picture().announce() | {"size_bytes": MAX_FILE_BYTES + 1}]
    said = manifest(a_name("up"), files=files)
    answer = await road.client.post("/v1/uploads", json=said, headers=bearer(road.car.token()))
    assert "file 0" in refused(answer, 422, "file-too-large")


async def test_a_body_too_large_is_refused_before_it_is_read(road: Road) -> None:
    def announce_ten_gigabytes() -> bytes:
        host, _, port = road.whole.stack.address("ingest").partition(":")
        with socket.create_connection((host, int(port)), timeout=GUARD_S) as line:
            line.sendall(b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n{")
            return line.recv(1000)

    assert (await asyncio.to_thread(announce_ten_gigabytes)).startswith(b"HTTP/1.1 413 ")

    async def endless() -> Any:
        yield b"{}"

    headers = bearer(road.car.token())
    refused(await road.client.post("/v1/uploads", content=b" " * 600_000, headers=headers), 413, "body-too-large")
    refused(await road.client.post("/v1/uploads", content=endless(), headers=headers), 411, "length-required")


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        pytest.param("/v1/uploads/%00", 422, "invalid-request", id="a-nul"),
        pytest.param("/v1/uploads/a%0Ab", 422, "invalid-request", id="a-line-end"),
        pytest.param("/v1/nothing", 404, "not-found", id="not-there"),
        pytest.param("/v1/uploads", 405, "method-not-allowed", id="another-method"),
    ],
)
async def test_paths_that_lead_nowhere(road: Road, path: str, status: int, kind: str) -> None:
    refused(await road.client.get(path, headers=bearer(road.car.token())), status, kind)


REFUSALS = {"bad-request": 400, "invalid-request": 422, "file-too-large": 422, "upload-id-taken": 409}
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["sha256", "size_bytes", "media_type", "captured_at", "camera", "condition", "object"])
changed_file = st.dictionaries(fields, anything, max_size=3).map(lambda changes: picture(GOOD).announce() | changes)
changed = st.builds(
    lambda files, changes: manifest("up-1", files=files) | changes,
    st.lists(changed_file, max_size=3),
    st.dictionaries(st.sampled_from(["upload_id", "drive", "files"]), anything, max_size=1),
)
documents = (changed | anything).map(lambda said: json.dumps(said).encode()) | st.binary(max_size=200)


@settings(max_examples=80, deadline=None)
@given(documents)
def test_no_document_breaks_the_announcement(whole: Whole, fuzzer: tuple[httpx.Client, str], content: bytes) -> None:
    client, token = fuzzer
    answer = client.post("/v1/uploads", content=content, headers=bearer(token) | {"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        kind = answer.json()["type"].removeprefix("/problems/")
        refused(answer, REFUSALS[kind], kind)


@pytest.fixture(scope="module")
def fuzzer(whole: Whole) -> Any:
    """A client and a token that outlive one example."""
    (car,) = asyncio.run(fleet.enrol(whole.stack.postgres_dsn("ingest"), TENANT, [a_name("fuzzer")]))
    with httpx.Client(base_url=f"http://{whole.stack.address('ingest')}", timeout=GUARD_S) as client:
        yield client, car.token()
