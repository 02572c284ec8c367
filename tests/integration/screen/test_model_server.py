"""What the model server says when it cannot answer, and what screening makes of it: real failures of a real server."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Sequence
from functools import partial

import httpx
import psutil
import pytest

from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_runtime.outcome import Transient
from screen.inference.predict import RefusedByModel
from screen.inference.request_batcher import RequestBatcher
from screen.inference.triton import OUTAGES, Triton
from screen.rollout import model_repository
from screen.vision.detections import Prediction
from tests.waiting import GUARD_S, eventually

pytestmark = pytest.mark.integration
MODEL, PATIENT = "detector.failing", "detector.patient"
GOOD, BAD, SLOW, HELD = b"good", b"bad", b"slow", b"held"
INSTANCES, WAITING = 2, 2
PYTHON = """
import pathlib
import time

import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb.get_input_tensor_by_name(r, "IMAGE").as_numpy().tobytes()) for r in requests]

    def answer(self, picture):
        if picture == b"bad":
            return pb.InferenceResponse(error=pb.TritonError("bad picture: it says so", pb.TritonError.INVALID_ARG))
        if picture == b"slow":
            time.sleep(0.5)
        if picture == b"held":
            pathlib.Path(__file__).with_name("held").touch()
            while not pathlib.Path(__file__).with_name("go").exists():
                time.sleep(0.01)
        shapes = {"DETECTIONS": (1, 1, 6), "PROBABILITIES": (1, 1, 1), "EMBEDDING": (1, 4)}
        tensors = [pb.Tensor(name, np.ones(shape, np.float32)) for name, shape in shapes.items()]
        return pb.InferenceResponse([*tensors, pb.Tensor("VERSION", np.ones((1, 1), np.int32))])
"""


def config(epoch: int) -> str:
    """Return a configuration with a queue so short that it is soon full."""
    full = model_repository.make_config(MODEL, [1], epoch, model_repository.Instances())
    full["instance_group"] = [{"count": INSTANCES, "kind": "KIND_CPU"}]
    full["max_batch_size"] = 1
    full["dynamic_batching"]["default_queue_policy"] |= {
        "max_queue_size": WAITING,
        "default_timeout_microseconds": 300_000,
    }
    return json.dumps(full)


@pytest.fixture
async def triton(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Triton]:
    """A client that waits as long as a slow machine needs."""
    monkeypatch.setattr("screen.inference.triton.DEADLINE_S", GUARD_S)
    client = Triton(stack.triton_grpc, lambda _model, _version: ("nothing", "car"))
    if not await client.is_ready(MODEL, 1):
        await bring(stack, client, MODEL, config(1))
    yield client
    await client.close()


async def bring(stack: Stack, triton: Triton, model: str, config: str) -> None:
    folder = stack.model_repository / model / "1"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    (folder / "model.py").write_text(PYTHON)
    await triton.load(model, config)


async def ask(triton: Triton, pictures: Sequence[bytes]) -> list[Prediction | BaseException]:
    batcher = RequestBatcher(triton.infer)
    asked = [batcher.detect(MODEL, 1, picture) for picture in pictures]
    return list(await asyncio.gather(*asked, return_exceptions=True))


async def test_a_bad_picture_is_refused_and_the_one_beside_it_is_not(triton: Triton) -> None:
    good, bad = await ask(triton, [GOOD, BAD])
    assert isinstance(good, Prediction)
    assert [box.class_name for box in good.boxes] == ["car"]
    assert isinstance(bad, RefusedByModel)
    assert str(bad) == "bad picture: it says so"


async def test_a_full_queue_and_a_slow_one_are_outages_and_no_pictures_fault(triton: Triton) -> None:
    said: set[str] = set()

    async def both_were_said() -> bool:  # which of them depends on how the server hands out what came together
        failed = [answer for answer in await ask(triton, [SLOW] * 12) if not isinstance(answer, Prediction)]
        assert all(isinstance(failure, Transient) and failure.busy for failure in failed), failed
        said.update(words for words in OUTAGES[:2] for failure in failed if words in str(failure))
        return said == {"Exceeds maximum queue size", "Request timeout expired"}

    await eventually("a full queue and a slow one were seen", both_were_said)


async def test_live_pictures_do_not_wait_behind_a_backfill(stack: Stack, triton: Triton) -> None:
    patient = model_repository.make_config(PATIENT, [1], 1, model_repository.Instances(count=1, kind="cpu"))
    patient["max_batch_size"] = 1
    patient["dynamic_batching"]["default_queue_policy"]["default_timeout_microseconds"] = int(GUARD_S * 1e6)
    folder = stack.model_repository / PATIENT / "1"
    for file in ("held", "go"):
        (folder / file).unlink(missing_ok=True)
    await bring(stack, triton, PATIENT, json.dumps(patient))
    done: list[str] = []
    batcher = RequestBatcher(triton.infer)

    async def look(kind: str, picture: bytes = GOOD) -> None:
        await batcher.detect(PATIENT, 1, picture, backfill=kind == "backfill")
        done.append(kind)

    async def is_held() -> bool:
        return (folder / "held").exists()

    async with asyncio.TaskGroup() as group:
        group.create_task(look("backfill", HELD))
        await eventually("the model is at work on the first", is_held)
        for kind, count, queued in (("backfill", 5, 5), ("live", 2, 7)):
            for _ in range(count):
                group.create_task(look(kind))
            await eventually(f"{queued} are queued", partial(_are_queued, stack, PATIENT, queued))
        (folder / "go").touch()
    assert done[:3] == ["backfill", "live", "live"], done


async def _are_queued(stack: Stack, model: str, count: int) -> bool:
    """Say whether so many requests wait in the server for a model."""
    async with httpx.AsyncClient(timeout=GUARD_S) as client:
        page = (await client.get(f"http://{stack.triton_metrics}/metrics")).text
    found = re.search(rf'^nv_inference_pending_request_count{{model="{model}".*}} (\d+)', page, re.MULTILINE)
    return found is not None and int(found[1]) == count


async def test_one_dead_process_of_two_is_an_outage_until_the_model_is_loaded_anew(
    stack: Stack, triton: Triton
) -> None:
    server = psutil.Process(local.pid_of(stack.data, "triton"))
    stubs = [child for child in server.children(recursive=True) if MODEL in " ".join(child.cmdline())]
    assert len(stubs) == INSTANCES
    stubs[0].send_signal(signal.SIGKILL)
    answers = [(await ask(triton, [GOOD]))[0] for _ in range(20)]
    failed = [answer for answer in answers if not isinstance(answer, Prediction)]
    assert failed
    assert all(isinstance(failure, Transient) and failure.busy for failure in failed), failed
    await triton.load(MODEL, config(2))

    async def all_answer() -> bool:
        return all(isinstance(answer, Prediction) for answer in [(await ask(triton, [GOOD]))[0] for _ in range(20)])

    await eventually("every instance answers", all_answer)


async def test_a_version_that_is_not_there_is_worth_another_try_and_its_canary_tells_why(triton: Triton) -> None:
    with pytest.raises(Transient) as raised:
        await RequestBatcher(triton.infer).detect(MODEL, 7, GOOD)
    assert not raised.value.busy
