"""The model server: pictures in, boxes out. Every error is either the picture's fault or worth another try."""

from collections.abc import Callable, Sequence

import grpc
import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter
from tritonclient.grpc import service_pb2
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from roadloop_runtime.outcome import Transient
from roadloop_schemas.fields import EMBEDDING_DIMENSIONS
from screen.inference import canary_picture
from screen.inference.backfill_priority import LIVE
from screen.inference.predict import RefusedByModel
from screen.inference.request_batcher import BatchKey
from screen.vision.detections import Box, Prediction
from screen.vision.embedding import pack

# A guard against a hang: the server gives up what has waited for 2 s. Eight slow pictures once took 9 s beside other
# work, and what fails three times while others are answered is given up.
DEADLINE_S = 60.0
# What the server says of itself and not of a picture: its queue is full or slow, or an instance's process has died.
# Where one of several is dead a canary does not show it, for the others may answer.
OUTAGES = ("Exceeds maximum queue size", "Request timeout expired", "is not healthy")
LOADS_WITHIN_S = 300.0
FAILED = Counter("roadloop_inference_failures", "Requests the model server did not answer, by kind.", ["kind"])
ANSWERS = ("DETECTIONS", "EMBEDDING")
CONTENTS = bytes([service_pb2.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2])  # key of a field of bytes
Classes = Callable[[str, int], tuple[str, ...]]


class NotLoadable(Exception):
    """The model server says that this model never will load."""


def is_fault_of_model(status: str | None) -> bool:
    """Say whether a refused load is the model's fault: a server that goes away meanwhile answers otherwise."""
    return status == "StatusCode.INVALID_ARGUMENT"


def failure_of(asked: str, status: str, said: str) -> RefusedByModel | Transient:
    """Return what a refused request means, by its gRPC status: the picture's fault, an outage, or who knows."""
    if "INVALID_ARGUMENT" in status:
        return RefusedByModel(said)
    busy = "RESOURCE_EXHAUSTED" in status or any(words in said for words in OUTAGES)
    return Transient("triton", f"{asked}: {status}: {said}", busy=busy)


def kind_of(failure: RefusedByModel | Transient) -> str:
    if isinstance(failure, RefusedByModel):
        return "refused"
    return "busy" if failure.busy else "transient"


def pack_embedding(embedding: NDArray[np.float32]) -> bytes:
    """Return an embedding [D] as it is kept; raises RefusedByModel where no verdict could carry it."""
    if embedding.size > EMBEDDING_DIMENSIONS:
        raise RefusedByModel(
            f"the model's embedding has {embedding.size} numbers, and {EMBEDDING_DIMENSIONS} are taken: "
            "export its mean over the picture, or leave it out of the card's tensors"
        )
    return pack(embedding)


def build_request(key: BatchKey, pictures: Sequence[bytes]) -> bytes:
    """Return the request to judge pictures: the shorter ones have zeros behind them, which the server takes away.

    It is a ModelInferRequest as it is sent: put into one and serialised, pictures would be copied twice more.
    """
    longest = max(map(len, pictures))
    request = service_pb2.ModelInferRequest(model_name=key.model, model_version=str(key.version))
    request.inputs.add(name="IMAGE", datatype="UINT8", shape=(len(pictures), longest))
    for name in ANSWERS:
        request.outputs.add(name=name)
    request.parameters["priority"].uint64_param = key.priority
    parts = [request.SerializeToString(), CONTENTS, encode_varint(len(pictures) * longest)]
    for picture in pictures:
        parts += (picture, bytes(longest - len(picture)))
    return b"".join(parts)


def encode_varint(number: int) -> bytes:
    """Return a natural number as protobuf writes it: seven bits a byte, the lowest first."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + encode_varint(number >> 7)


def boxes_of(detections: NDArray[np.float32], classes: Sequence[str]) -> tuple[Box, ...]:
    """Return a picture's boxes of its rows [N, 6]; those of score -1 are there for another picture's sake."""
    return tuple(
        Box(x1, y1, x2, y2, score, classes[int(index)])
        for x1, y1, x2, y2, score, index in detections.tolist()
        if score >= 0 and int(index) < len(classes)
    )


class Triton:
    """One long-lived client. `classes` names a model version's classes by index.

    Inference speaks the protocol itself: the client's own objects for it took a fifth of what a request costs.
    """

    def __init__(self, address: str, classes: Classes) -> None:
        self._client = InferenceServerClient(address)
        self._channel = grpc.aio.insecure_channel(address, [("grpc.max_receive_message_length", -1)])
        self._model_infer = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        self._classes = classes

    async def infer(self, key: BatchKey, pictures: Sequence[bytes]) -> list[Prediction]:
        """Return what a model version makes of pictures, asked in one request.

        Raises RefusedByModel where one of the pictures is at fault, Transient for the rest.
        """
        try:
            answer = await self._model_infer(build_request(key, pictures), timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            failure = failure_of(f"{key.model} v{key.version}", str(error.code()), str(error.details()))
            if isinstance(failure, Transient) or len(pictures) == 1:
                FAILED.labels(kind_of(failure)).inc(len(pictures))
            raise failure from error
        tensors = {
            output.name: np.frombuffer(raw, np.float32).reshape(output.shape)
            for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }
        classes = self._classes(key.model, key.version)
        rows = zip(*(tensors[name] for name in ANSWERS), strict=True)
        return [Prediction(boxes_of(detections, classes), pack_embedding(embedding)) for detections, embedding in rows]

    async def ask_canary(self, model: str, version: int) -> None:
        """Ask a version about a real picture: that it is ready does not say that it answers. Raises as `infer` does."""
        await self.infer(BatchKey(model, version, LIVE), [canary_picture.PICTURE])

    async def is_ready(self, model: str, version: int) -> bool:
        """Say whether a version answers readiness; a dead python stub still does: ask it a canary."""
        try:
            return bool(await self._client.is_model_ready(model, str(version), client_timeout=2))
        except (InferenceServerException, grpc.RpcError):
            return False

    async def newest(self, model: str) -> int:
        """Return the highest version of a model that is ready; raise Transient where there is none."""
        try:
            described = await self._client.get_model_metadata(model, client_timeout=5)
        except (InferenceServerException, grpc.RpcError) as error:
            raise Transient("triton", f"{model}: {error}") from error
        return max(map(int, described.versions))

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
            await self._client.load_model(model, config=config, client_timeout=LOADS_WITHIN_S)
        except InferenceServerException as error:
            if is_fault_of_model(error.status()):
                raise NotLoadable(error.message()) from error
            raise Transient("triton", f"{model}: {error.status()}: {error.message()}") from error
        except grpc.RpcError as error:
            raise Transient("triton", f"{model}: {error}") from error

    async def close(self) -> None:
        await self._client.close()
        await self._channel.close()
