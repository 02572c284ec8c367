"""`roadloop annotators` and `roadloop queues` on a real Postgres."""

import asyncio
import json
import secrets

import pytest

from label_router.tables import queue_classes_table
from roadloop_runtime.storage.postgres import Pool

from .conftest import roadloop

pytestmark = pytest.mark.integration


def test_annotators_are_enrolled_listed_and_revoked(dsn: str) -> None:
    tenant = f"t-{secrets.token_hex(6)}"
    token = roadloop(dsn, "annotators", "enrol", "--tenant", tenant, "--name", "安 Ann").stdout.strip()
    assert len(token) == 46
    listed = json.loads(roadloop(dsn, "annotators", "list", "--json").stdout)
    assert token not in str(listed)
    (mine,) = [entry for entry in listed if entry["tenant"] == tenant]
    assert (mine["name"], mine["revoked_at"]) == ("安 Ann", None)
    roadloop(dsn, "annotators", "revoke", mine["annotator_id"])
    assert f"{tenant}  " in roadloop(dsn, "annotators", "list").stdout
    assert "there is no annotator nobody" in roadloop(dsn, "annotators", "revoke", "nobody", exit_code=1).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("annotators", "enrol", "--tenant", "No Tenant", "--name", "Ann"), id="no tenant"),
        pytest.param(("annotators", "enrol", "--tenant", "acme", "--name", "\x07"), id="no name"),
        pytest.param(("queues", "set", "--tenant", "acme", "--classes", "car,,bus"), id="an empty class"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(arguments: tuple[str, ...]) -> None:
    roadloop("postgresql://nobody@127.0.0.1:1/none", *arguments, exit_code=2)


def test_a_command_says_in_one_line_that_postgres_is_away() -> None:
    said = roadloop("postgresql://nobody@127.0.0.1:1/none", "annotators", "list", exit_code=1).stderr
    assert said.startswith("Postgres refused (ConnectionRefusedError")
    assert said.count("\n") == 1


async def test_classes_are_set_and_taken_away(dsn: str, pool: Pool) -> None:
    tenant = f"t-{secrets.token_hex(6)}"
    for classes, expected in (("car, truck,car", ("car", "truck")), ("", ())):
        await asyncio.to_thread(roadloop, dsn, "queues", "set", "--tenant", tenant, "--classes", classes)
        assert await queue_classes_table.classes_of(pool, tenant) == expected
