"""The model server: one picture in, boxes out. Every error is either the picture's fault or worth another try."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from prometheus_client import Counter
from tritonclient.grpc.aio import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from roadloop_runtime.outcome import Transient
from screen.detections import Box
from screen.handle import RefusedByModel

DEADLINE_S = 10.0
MAX_PICTURE_BYTES = 20 * 1024 * 1024
FAILED = Counter("roadloop_inference_failures", "Requests the model server did not answer, by kind.", ["kind"])
Classes = Callable[[str, int], tuple[str, ...]]


class NotLoadable(Exception):
    """The model server says that this model never will load."""


def is_fault_of_model(status: str | None) -> bool:
    """Say whether a refused load is the model's fault: a server that goes away meanwhile answers otherwise."""
    return status == "StatusCode.INVALID_ARGUMENT"


class Triton:
    """One long-lived client. `classes` names a model version's classes by index."""

    def __init__(self, address: str, classes: Classes) -> None:
        self._client = InferenceServerClient(address)
        self._classes = classes

    async def detect(self, model: str, version: int, picture: bytes) -> tuple[Box, ...]:
        """Return what a model version sees in a JPEG or PNG.

        Raises RefusedByModel where the picture is at fault, Transient for the rest.
        """
        if not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise RefusedByModel(f"{len(picture)} bytes; 1 to {MAX_PICTURE_BYTES} are taken")
        rows = await self._infer(model, version, picture)
        names = self._classes(model, version)
        return tuple(
            Box(float(x1), float(y1), float(x2), float(y2), float(score), names[int(index)])
            for x1, y1, x2, y2, score, index in rows
            if int(index) < len(names)
        )

    async def _infer(self, model: str, version: int, picture: bytes) -> Any:
        image = InferInput("IMAGE", [1, len(picture)], "UINT8")
        image.set_data_from_numpy(np.frombuffer(picture, np.uint8)[None])
        try:
            answer = await self._client.infer(
                model,
                [image],
                model_version=str(version),
                outputs=[InferRequestedOutput("DETECTIONS")],
                client_timeout=DEADLINE_S,
            )
        except InferenceServerException as error:
            if "INVALID_ARGUMENT" in str(error.status()):
                FAILED.labels("refused").inc()
                raise RefusedByModel(error.message()) from error
            FAILED.labels("transient").inc()
            busy = "RESOURCE_EXHAUSTED" in str(error.status())
            said = f"{model} v{version}: {error.status()}: {error.message()}"
            raise Transient("triton", said, busy=busy) from error
        except grpc.RpcError as error:
            FAILED.labels("transient").inc()
            raise Transient("triton", f"{model} v{version}: {error}") from error
        return answer.as_numpy("DETECTIONS").reshape(-1, 6)

    async def is_ready(self, model: str, version: int) -> bool:
        """Say whether a version answers readiness; a dead python stub still does, so ask `detect` as well."""
        try:
            return bool(await self._client.is_model_ready(model, str(version), client_timeout=2))
        except (InferenceServerException, grpc.RpcError):
            return False

    async def is_live(self) -> bool:
        try:
            return bool(await self._client.is_server_live(client_timeout=2))
        except (InferenceServerException, grpc.RpcError):
            return False

    async def load(self, model: str, config: str) -> None:
        """Load a model with its full configuration: a part of it would stay in force.

        Raises NotLoadable where the model is at fault, Transient where the server is away or broken.
        """
        try:
            await self._client.load_model(model, config=config, client_timeout=60)
        except InferenceServerException as error:
            if is_fault_of_model(error.status()):
                raise NotLoadable(error.message()) from error
            raise Transient("triton", f"{model}: {error.status()}: {error.message()}") from error
        except grpc.RpcError as error:
            raise Transient("triton", f"{model}: {error}") from error

    async def close(self) -> None:
        await self._client.close()
