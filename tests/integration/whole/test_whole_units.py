"""`roadloop units` on the whole stack: what a worker has looked at, and what it cost."""

import json

import pytest

from roadloop_world.actors import fleet, tenant_setup
from tests.integration.whole.conftest import Road, a_name, picture
from tests.waiting import LONG_TEST_S

pytestmark = [pytest.mark.integration, pytest.mark.timeout(LONG_TEST_S)]


async def test_a_unit_is_told_with_its_cost(road: Road) -> None:
    stack, upload_id, pictures = road.whole.stack, a_name("up"), [picture() for _ in range(3)]
    uris = await road.put(upload_id, pictures)
    await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))
    assert (await road.fate(upload_id))["accepted"] == 3
    ((worker, told),) = json.loads(await tenant_setup.run_command(stack, "screen", "units", "--json")).items()
    assert worker == f"http://{stack.health_address('screen')}"
    (mine,) = [unit for unit in told["ended"] if unit["vehicle"] == road.car.name]
    assert (mine["tenant"], mine["frames"], mine["fetched"], mine["answers"]) == ("whole", 3, 3, 3)
    assert 0 < mine["model_s"] < 60
    assert mine["seconds"] >= mine["model_s"] / 3
    shown = await tenant_setup.run_command(stack, "screen", "units", "--worker", worker, "--last", "100")
    (row,) = [line for line in shown.splitlines() if mine["unit_id"] in line]
    assert row.split("\t")[6:9] == ["looked", "3/3", "3"]
