"""What the desk refuses, and how it says so; and what it says of itself."""

import hashlib

import pytest

from label_router.tables import annotator_table

from .conftest import CAR, Office, refused, screened

pytestmark = pytest.mark.integration


async def test_what_cannot_be_is_refused_with_a_reason(office: Office) -> None:
    await office.put(screened("f-1"))
    ann = await office.enrol()
    task = await ann.take()
    problem = refused(await ann.submit(task, CAR | {"x2": 1.2}), 422, "invalid-submission")
    assert (problem["box"], problem["field"]) == (1, "x2")
    refused(await ann.submit(task | {"task_id": "nope"}), 404, "no-such-task")
    refused(await ann.submit(task | {"task_id": "%00"}), 404, "no-such-task")
    refused(await ann.submit(task, "x" * 70_000), 413, "body-too-large")
    refused(await ann.post("/v1/elsewhere"), 404, "not-found")
    refused(await ann.client.get("/v1/tasks/next"), 405, "method-not-allowed")
    assert (await ann.submit(task, CAR)).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer rl_wrong", "Basic abc", "Bearer \u00e9"])
async def test_without_a_token_nothing_is_said(office: Office, header: str) -> None:
    answer = await office.client.post("/v1/tasks/next", headers=[(b"Authorization", header.encode())])
    refused(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_is_kept_as_a_hash_and_can_be_revoked(office: Office) -> None:
    await office.put(screened("f-1"))
    ann = await office.enrol()
    task = await ann.take()
    kept = await office.pool.fetchval(
        "select token_sha256 from annotators where annotator_id = $1", ann.annotator.annotator_id
    )
    assert kept == hashlib.sha256(ann.token.encode()).digest()
    async with office.pool.acquire() as connection:
        assert await annotator_table.revoke(connection, ann.annotator.annotator_id, now=office.now)
        assert not await annotator_table.revoke(connection, "nobody", now=office.now)
    refused(await ann.submit(task, CAR), 401, "unauthenticated")


async def test_the_api_describes_itself(office: Office) -> None:
    described = (await office.client.get("/openapi.json")).json()
    assert sorted(described["paths"]) == [
        "/v1/queue",
        "/v1/tasks/next",
        "/v1/tasks/{task_id}/return",
        "/v1/tasks/{task_id}/submit",
    ]
    submit = described["paths"]["/v1/tasks/{task_id}/submit"]["post"]
    assert submit["security"] == [{"HTTPBearer": []}]
    assert submit["requestBody"]["content"]["application/json"]["schema"]["properties"]["boxes"]["maxItems"] == 500


async def test_a_database_that_is_away_is_said_to_be_away(office: Office) -> None:
    ann = await office.enrol()
    await office.pool.close()
    answer = await ann.post("/v1/tasks/next")
    refused(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "3"
