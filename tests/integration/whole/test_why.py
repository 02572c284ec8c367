"""`roadloop why` on a running stack: a sentence, the verdict itself, and the picture with its boxes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer
from typer.testing import CliRunner

from roadloop_world.actors import fleet
from screen.commands import register
from tests.waiting import LONG_TEST_S

from .conftest import Road, a_name, picture

pytestmark = [pytest.mark.integration, pytest.mark.timeout(LONG_TEST_S)]


async def why(road: Road, *arguments: str) -> Any:
    app = typer.Typer()
    register(app)
    stack = road.whole.stack
    access, secret = stack.s3_keys("screen")
    keys = {"ROADLOOP_S3_ACCESS_KEY": access, "ROADLOOP_S3_SECRET_KEY": secret}
    where = ("--kafka", stack.kafka_bootstrap, "--s3", stack.s3_endpoint)
    return await asyncio.to_thread(CliRunner(env=keys).invoke, app, ["why", *arguments, *where])


async def test_a_verdict_is_said_shown_and_drawn(road: Road, tmp_path: Path) -> None:
    upload_id, pictures = a_name("up"), [picture()]
    uris = await road.put(upload_id, pictures)
    await road.send(*fleet.sign_completion(road.car, upload_id, "d-1", uris, pictures))
    told = await road.fate(upload_id)
    frame_id, drawn = fleet.derive_frame_id(road.car, pictures[0].content), tmp_path / "drawn.jpg"
    said = await why(road, frame_id, "--picture", str(drawn))
    assert said.exit_code == 0, said.output
    verdict = "kept" if told.get("kept") else "dropped"
    assert said.stdout.startswith(f"{verdict.capitalize()}: ")
    assert "Judged by detector.whole version" in said.stdout
    image = cv2.imread(str(drawn))
    assert image is not None
    assert image.shape == (48, 64, 3)
    whole = json.loads((await why(road, frame_id, "--json")).stdout)
    assert (whole["frame_id"], whole["verdict"]) == (frame_id, verdict)


async def test_what_is_not_there_is_said_in_one_line(road: Road) -> None:
    said = await why(road, "no-such-frame")
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith("frames.screened.v1 has no verdict on no-such-frame: ")
