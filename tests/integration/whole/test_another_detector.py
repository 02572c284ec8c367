"""A detector that nobody knew is tried, released and screens, by nothing but its card."""

from pathlib import Path

import numpy as np
import pytest

from roadloop_schemas.frames import FrameScreened
from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.actors.subscriber import read_topic
from roadloop_world.actors.tenant_setup import CommandFailed
from tests.unit.screen.networks import folder, says
from tests.waiting import LONG_TEST_S, eventually

from .conftest import Road, a_name, picture, serves

pytestmark = [pytest.mark.integration, pytest.mark.timeout(LONG_TEST_S)]

# one bus around the middle of the canvas, as a YOLO tells it: [4 + C, N]
YOLO = says({"output0": np.array([[32, 32, 32, 16, 0.1, 0.75], [10, 30, 8, 8, 0.01, 0.02], [9, 9, 8, 8, 0.0, 0.0]]).T})
SEEN = (0.25, 0.33333, 0.75, 0.66667)  # of a picture of 64 x 48


async def add(road: Road, tenant: str, detector: Path) -> str:
    names = ("--tenant", tenant, "--model", f"detector.{tenant}")
    return await tenant_setup.run_command(
        road.whole.stack, "trainer-trigger", "models", "add", str(detector), "--then", "seed", *names
    )


async def test_a_yolo_screens_by_its_card(road: Road, tmp_path: Path) -> None:
    tenant, stack = a_name("yolo"), road.whole.stack
    said = await add(road, tenant, folder(tmp_path, YOLO, family="yolo"))
    assert said.splitlines()[-2:] == ["nothing is wrong with it", f"released detector.{tenant} version 1"]
    await tenant_setup.set_policy(stack, tenant, '{"threshold": 0.0}')
    await eventually("the model serves", lambda: serves(stack, tenant))
    car, upload_id, pictures = await road.enrol(tenant), a_name("up"), [picture(), picture()]
    uris = await road.put(upload_id, pictures, car)
    await road.send(*fleet.sign_completion(car, upload_id, "d-1", uris, pictures))
    assert (await road.fate(upload_id, car))["kept"] == 2
    records = await read_topic(stack.kafka_bootstrap, "frames.screened.v1")
    verdicts = [FrameScreened.model_validate_json(record.value or b"{}") for record in records]
    seen = [box for one in verdicts if one.vehicle == car.name for box in one.detections]
    assert [box.score for box in seen] == [0.75, 0.75]
    for box in seen:
        assert (box.class_name, box.x1, box.y1, box.x2, box.y2) == ("bus", *(pytest.approx(edge) for edge in SEEN))


async def test_one_that_is_wrong_is_not_released(road: Road, tmp_path: Path) -> None:
    tenant = a_name("yolo")
    with pytest.raises(CommandFailed, match='set "box_format": "cxcywh", "box_unit": "pixel"'):
        await add(road, tenant, folder(tmp_path, YOLO, family="yolo", box_unit="share"))
    listed = await tenant_setup.run_command(road.whole.stack, "trainer-trigger", "models", "list", "--all")
    assert tenant not in listed
