"""Bring models into the server the way the rollout does, and say that they serve."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roadloop_local.addresses import Stack
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import DetectorCard, ModelReleased, ModelServing
from roadloop_schemas.policies import ScreenPolicy
from roadloop_world.actors.tenant_setup import DETECTORS
from screen.inference.triton import Triton
from screen.rollout import model_repository

VERSION = 1
SINCE = datetime(2025, 1, 1, tzinfo=UTC)
SECOND = "detector.bench.second"
USUAL = model_repository.Instances()
# Everything is on that has to be looked up or counted per frame.
POLICY = {
    "version": 1,
    "threshold": 0.5,
    "controlled": True,
    "blur_ratio": 0.15,
    "duplicate_distance": 4,
    "rules": ({"name": "bike at night", "condition": "night", "class_name": "bicycle", "quota": 0.005},),
}


async def bring_detectors(stack: Stack, tenant: str) -> None:
    """Load the demo's first release and its second model."""
    await load_detector(stack, SECOND, DETECTORS / "second")
    card = await load_detector(stack, f"detector.{tenant}", DETECTORS / "v1")
    await _tell(stack, tenant, card, SECOND)


async def bring_stub(stack: Stack, tenant: str, *, pause_ms: float, instances: int, batch: int) -> None:
    """Load a model that answers after a pause, as its own second model where it does not pause."""
    model = f"detector.{tenant}"
    folder = stack.model_repository / model / str(VERSION)
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    (folder / "model.py").write_text(Path(__file__).with_name("stub.py").read_text())
    config = model_repository.make_config(model, [VERSION], 1, model_repository.Instances())
    config["max_batch_size"] = batch
    config["instance_group"] = [{"count": instances, "kind": "KIND_CPU"}]
    config["parameters"]["pause_ms"] = {"string_value": str(pause_ms)}
    await _load(stack, model, config)
    card = DetectorCard.model_validate_json((DETECTORS / "v1" / "detector.json").read_text())
    await _tell(stack, tenant, card, None if pause_ms else model)


async def load_detector(
    stack: Stack, model: str, folder: Path, instances: model_repository.Instances = USUAL
) -> DetectorCard:
    """Bring a detector's folder into the server under a name, and return its card."""
    card = DetectorCard.model_validate_json((folder / "detector.json").read_text())
    weights = ObjectRef(uri="s3://models/bench", sha256="0" * 64, size_bytes=1)
    release = ModelReleased(
        release_id=model, model=model, version=VERSION, weights=weights, card=card, released_at=SINCE
    )
    await asyncio.to_thread(
        model_repository.publish, stack.model_repository, release, (folder / "model.onnx").read_bytes()
    )
    await _load(stack, model, model_repository.make_config(model, [VERSION], 1, instances))
    return card


async def _load(stack: Stack, model: str, config: Mapping[str, Any]) -> None:
    triton = Triton(stack.triton_grpc, lambda _model, _version: ())
    await triton.load(model, json.dumps(config))
    await triton.close()


async def unload(stack: Stack, *models: str) -> None:
    """Let the server forget models, and end their processes."""
    for model in models:
        request = urllib.request.Request(
            f"http://{stack.triton_http}/v2/repository/models/{model}/unload", data=b"{}", method="POST"
        )
        await asyncio.to_thread(lambda post: urllib.request.urlopen(post, timeout=30).close(), request)


async def _tell(stack: Stack, tenant: str, card: DetectorCard, second: str | None) -> None:
    serving = ModelServing(
        model=f"detector.{tenant}",
        version=VERSION,
        release_id=f"bench-{tenant}",
        second_model=second,
        second_version=VERSION if second else None,
        card=card,
        serving_since=SINCE,
    )
    kafka = Kafka(stack.kafka_bootstrap, "bench")
    await kafka.write(_make_event("models.serving.v1", serving, tenant, serving.model))
    await kafka.write(_make_event("screen.policy.v1", ScreenPolicy.model_validate(POLICY), tenant, tenant))


def _make_event(topic: str, body: ModelServing | ScreenPolicy, tenant: str, key: str) -> Event:
    return to_cloud_event(
        topic, body, id=f"{topic}.{key}", source="/bench", tenant=tenant, key=key, time=SINCE, partition=0
    )


async def count_batches(stack: Stack) -> Mapping[str, tuple[int, int]]:
    """Return, by model, how many inferences and how many executions there were."""
    counts_by_model: dict[str, dict[str, int]] = {}
    page = await asyncio.to_thread(_read_metrics, stack)
    for kind, model, value in re.findall(r'^nv_inference_(count|exec_count)\{model="([^"]+)".*\} (\d+)', page, re.M):
        counts_by_model.setdefault(model, {})[kind] = int(value)
    return {model: (counts["count"], counts["exec_count"]) for model, counts in counts_by_model.items()}


def _read_metrics(stack: Stack) -> str:
    with urllib.request.urlopen(f"http://{stack.triton_metrics}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
