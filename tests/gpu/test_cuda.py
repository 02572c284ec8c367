"""Detectors on a GPU: loaded as the rollout loads them, they find what they find on the CPU."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from roadloop_local.addresses import Stack
from roadloop_schemas.models import DetectorCard
from roadloop_world.actors.tenant_setup import DETECTORS
from screen.detector_check.synthetic_pictures import draw_pictures
from screen.inference.request_batcher import RequestBatcher
from screen.inference.triton import Triton
from screen.rollout import model_repository
from screen.rollout.model_repository import Instances
from screen.vision.detections import Prediction, match
from tests import releases

CARDS = {
    name: DetectorCard.model_validate_json((DETECTORS / name / "detector.json").read_text())
    for name in ("nanodet-g-coco", "v1", "second")
}
CLEAR = 0.3
BATCHES = (1, 2, 3, 4)  # all that `serving/config.json` lets the server make

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def triton(model_server: Stack) -> AsyncIterator[Triton]:
    client = Triton(model_server.triton_grpc, lambda model, _version: CARDS[model.split(".")[1]].classes)
    yield client
    await client.close()


async def serve(stack: Stack, triton: Triton, detector: str, instances: Instances) -> str:
    """Bring a detector into the server, and return the model's name there."""
    model = f"detector.{detector}.t{uuid4().hex[:12]}"
    releases.publish(stack, model, CARDS[detector], (DETECTORS / detector / "model.onnx").read_bytes())
    await triton.load(model, json.dumps(model_repository.make_config(model, [1], 1, instances)))
    return model


def where(stack: Stack, model: str) -> list[str]:
    """Return where the server's log says that each instance of a model runs."""
    said = f"{model} version 1 runs on "
    log = stack.layout.log("triton").read_text(errors="replace")
    return [line.split(said)[1].split('"')[0].strip() for line in log.splitlines() if said in line]


async def looks(triton: Triton, model: str) -> list[Prediction]:
    """Return what a model sees in the drawn pictures, asked for in batches of every size."""
    found, batcher = [], RequestBatcher(triton.infer)
    for size in BATCHES:
        for _, encoded in draw_pictures():
            found += await asyncio.gather(*(batcher.detect(model, 1, encoded) for _ in range(size)))
    return found


def assert_alike(one: Prediction, other: Prediction) -> None:
    """Compare looks as far as boxes are clear: a GPU adds up in another order, so one on the verge may go."""
    for box in (box for box in one.boxes if box.score > CLEAR):
        _, same = match([box], other.boxes, at_least=0.99)[0]
        assert same is not None, f"nothing there is like {box}"
        assert (same.class_name, same.score) == (box.class_name, pytest.approx(box.score, abs=0.001))


async def test_the_rollouts_default_is_the_gpu(model_server: Stack, triton: Triton) -> None:
    model = await serve(model_server, triton, "v1", Instances())
    assert where(model_server, model) == ["CUDAExecutionProvider"] * Instances().count


async def test_the_cpu_can_be_asked_for(model_server: Stack, triton: Triton) -> None:
    model = await serve(model_server, triton, "v1", Instances(1, "cpu"))
    assert where(model_server, model) == ["CPUExecutionProvider"]


@pytest.mark.parametrize("detector", CARDS)
async def test_a_gpu_finds_what_the_cpu_finds(model_server: Stack, triton: Triton, detector: str) -> None:
    on_gpu = await looks(triton, await serve(model_server, triton, detector, Instances(2, "gpu")))
    on_cpu = await looks(triton, await serve(model_server, triton, detector, Instances(2, "cpu")))
    assert any(look.boxes for look in on_cpu), "a comparison of nothing proves nothing"
    for one, other in zip(on_gpu, on_cpu, strict=True):
        assert_alike(one, other)
        assert_alike(other, one)
