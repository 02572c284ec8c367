"""A detector of another family on a real Triton, by nothing but its card; and pictures annotated through it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import typer
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from typer.testing import CliRunner

from roadloop_local.addresses import Stack
from roadloop_schemas.models import DetectorCard
from screen.commands import register
from screen.inference.predict import RefusedByModel
from screen.inference.request_batcher import RequestBatcher
from screen.inference.triton import NotLoadable, Triton
from screen.rollout import model_repository
from screen.rollout.model_repository import Instances
from screen.serving.canvas import LAYOUT_LENGTH
from screen.vision.detections import Box, Prediction
from tests import releases
from tests.unit.screen.networks import picture, says

pytestmark = pytest.mark.integration

# [4 + C, N]: one box around the canvas's middle, on a canvas of 64 x 64
YOLO = says({"output0": np.array([[32, 28, 32, 16, 0.1, 0.75], [10, 30, 8, 8, 0.01, 0.02], [40, 30, 8, 8, 0, 0]]).T})
CARD = DetectorCard(family="yolo", classes=("car", "bus"), input_width=64, input_height=64)
BOX = Box(0.25, 0.125, 0.75, 0.625, 0.75, "bus")  # of a picture of 128 x 64


@pytest.fixture
async def triton(stack: Stack) -> AsyncIterator[Triton]:
    client = Triton(stack.triton_grpc, lambda _model, _version: CARD.classes)
    yield client
    await client.close()


def publish(stack: Stack, card: DetectorCard) -> str:
    """Put a detector into the model repository and return its name."""
    model = f"detector.t{uuid4().hex[:12]}"
    releases.publish(stack, model, card, YOLO.SerializeToString())
    return model


async def load(triton: Triton, model: str) -> None:
    await triton.load(model, json.dumps(model_repository.make_config(model, [1], 1, Instances(1))))


async def test_a_yolo_serves_by_its_card(stack: Stack, triton: Triton) -> None:
    model = publish(stack, CARD)
    await load(triton, model)
    assert await triton.newest(model) == 1
    batcher = RequestBatcher(triton.infer)
    seen = await asyncio.gather(*(batcher.detect(model, 1, picture(128, 64)) for _ in range(6)))
    assert [look.boxes for look in seen] == [(BOX,)] * 6


async def test_pictures_of_one_request_are_seen_as_each_alone(stack: Stack, triton: Triton) -> None:
    """One is cut off: zeros that fill it up to the longest are no part of it."""
    model = publish(stack, CARD)
    await load(triton, model)
    shown = [picture(128, 64), picture(640, 480), picture(640, 480)[:2_000], picture(97, 31)]
    alone, together = RequestBatcher(triton.infer, at_most=1), RequestBatcher(triton.infer)
    wanted = [await see(alone, model, one) for one in shown]
    assert [type(one) for one in wanted] == [Prediction, Prediction, str, Prediction]
    assert await asyncio.gather(*(see(together, model, one) for one in shown)) == wanted


async def see(batcher: RequestBatcher, model: str, encoded: bytes) -> Prediction | str:
    try:
        return await batcher.detect(model, 1, encoded)
    except RefusedByModel as error:
        return str(error)


async def test_its_other_tensors_are_the_contracts(stack: Stack, triton: Triton) -> None:
    model = publish(stack, CARD)
    await load(triton, model)
    encoded = picture(128, 64)
    image = InferInput("IMAGE", [1, len(encoded)], "UINT8")
    image.set_data_from_numpy(np.frombuffer(encoded, np.uint8)[None])
    async with InferenceServerClient(stack.triton_grpc) as client:
        answer: Any = await client.infer(model, [image])
    np.testing.assert_allclose(answer.as_numpy("PROBABILITIES"), [[[0.1, 0.75]]])
    assert answer.as_numpy("EMBEDDING").shape == (1, LAYOUT_LENGTH)
    assert answer.as_numpy("VERSION").tolist() == [[1]]


async def test_a_card_that_does_not_fit_is_refused_with_the_reason(stack: Stack, triton: Triton) -> None:
    model = publish(stack, CARD.model_copy(update={"classes": ("car",)}))
    with pytest.raises(NotLoadable, match="4 for a box and 1 classes make 5"):
        await load(triton, model)


async def test_pictures_are_annotated_through_triton(stack: Stack, triton: Triton, tmp_path: Path) -> None:
    model = publish(stack, CARD)
    await load(triton, model)
    (tmp_path / "in").mkdir()
    for name, content in (("a.png", picture(128, 64)), ("b.jpg", b"no picture")):
        (tmp_path / "in" / name).write_bytes(content)
    app = typer.Typer()
    register(app)
    where = ("--out", str(tmp_path / "out"), "--triton", stack.triton_grpc, "--model", model)
    said = await asyncio.to_thread(CliRunner().invoke, app, ["annotate", str(tmp_path / "in"), *where])
    assert said.exit_code == 1, said.output
    first, second = map(json.loads, (tmp_path / "out" / "detections.jsonl").read_text().splitlines())
    assert [box["class_name"] for box in first["detections"]] == ["class 1"], "no card names the classes"
    assert (second["picture"], "neither JPEG nor PNG" in second["error"]) == ("b.jpg", True)
    assert (tmp_path / "out" / "a.png").is_file()
