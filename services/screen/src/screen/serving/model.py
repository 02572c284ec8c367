"""Serve one detector in Triton: picture files in; boxes, probabilities and an embedding out.

The file lies in a version directory beside `model.onnx`, `detector.json` and the modules it imports. A bad picture
fails alone. It runs in Triton's own environment: numpy 1, onnxruntime, opencv and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb
from numpy.typing import NDArray

from .answer import DetectorResult
from .canvas import BadPicture
from .detector import choose_providers, open_detector


class TritonPythonModel:
    """What Triton's python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the detector of this version's directory."""
        self.version = int(args["model_version"])
        providers = choose_providers(args.get("model_instance_kind", "CPU"), args.get("model_instance_device_id", "0"))
        self.detector = open_detector(Path(args["model_repository"]) / args["model_version"], providers)
        provider = self.detector.session.get_providers()[0]
        pb.Logger.log_info(f"{args['model_name']} version {self.version} runs on {provider}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request alone: its pictures, or an error that says what is wrong with one of them."""
        prepared = [self._prepare(request) for request in requests]
        good = [picture for pictures in prepared if isinstance(pictures, list) for picture in pictures]
        results = iter(self.detector.detect(good) if good else [])
        return [
            self._response([next(results) for _ in pictures])
            if isinstance(pictures, list)
            else pb.InferenceResponse(error=pictures)
            for pictures in prepared
        ]

    def _prepare(self, request: Any) -> Any:
        if request.is_cancelled():
            return pb.TritonError("cancelled by the client", pb.TritonError.CANCELLED)
        try:
            encoded = pb.get_input_tensor_by_name(request, "IMAGE").as_numpy()
            if encoded.ndim != 2:
                raise BadPicture(f"shape {list(encoded.shape)}; send pictures as [pictures, bytes]")
            # Zeros fill up to the longest picture of a request; a decoder might take those behind a cut off one for it.
            return [self.detector.prepare(picture.tobytes().rstrip(b"\0")) for picture in encoded]
        except BadPicture as error:
            return pb.TritonError(f"bad picture: {error}", pb.TritonError.INVALID_ARG)
        except Exception as error:  # one item must not take the batch with it
            return pb.TritonError(f"cannot prepare the picture: {error!r}", pb.TritonError.INTERNAL)

    def _response(self, results: Sequence[DetectorResult]) -> Any:
        tensors = {
            "DETECTIONS": _stack([result.detections for result in results]),
            "PROBABILITIES": _stack([result.probabilities.astype(np.float32) for result in results]),
            "EMBEDDING": np.stack([result.embedding for result in results]).astype(np.float32),
            "VERSION": np.full((len(results), 1), self.version, np.int32),
        }
        return pb.InferenceResponse([pb.Tensor(name, np.ascontiguousarray(part)) for name, part in tensors.items()])


def _stack(tables: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return tables [N, W] of different lengths as one [pictures, longest N, W]: what is missing is -1, as no score."""
    whole = np.full((len(tables), max(map(len, tables)), tables[0].shape[1]), -1, np.float32)
    for padded_table, table in zip(whole, tables, strict=True):
        padded_table[: len(table)] = table
    return whole
