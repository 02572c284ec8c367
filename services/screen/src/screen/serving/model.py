"""Serve one detector in Triton: picture files in; boxes, probabilities and an embedding out.

The file lies in a version directory beside `model.onnx`, `detector.json` and the modules it imports. A bad picture
fails alone. It runs in Triton's own environment: numpy 1, onnxruntime, opencv and nothing else.
"""

from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb

from .answer import Found
from .canvas import BadPicture
from .detector import open_detector, providers


class TritonPythonModel:
    """What Triton's python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the detector of this version's directory."""
        self.version = int(args["model_version"])
        places = providers(args.get("model_instance_kind", "CPU"), args.get("model_instance_device_id", "0"))
        self.detector = open_detector(Path(args["model_repository"]) / args["model_version"], places)
        where = self.detector.session.get_providers()[0]
        pb.Logger.log_info(f"{args['model_name']} version {self.version} runs on {where}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request alone: a picture, or an error that says what is wrong with it."""
        prepared = [self._prepare(request) for request in requests]
        good = [one for one in prepared if not isinstance(one, pb.TritonError)]
        found = iter(self.detector.detect(good) if good else [])
        return [
            pb.InferenceResponse(error=one) if isinstance(one, pb.TritonError) else self._response(next(found))
            for one in prepared
        ]

    def _prepare(self, request: Any) -> Any:
        if request.is_cancelled():
            return pb.TritonError("cancelled by the client", pb.TritonError.CANCELLED)
        try:
            encoded = pb.get_input_tensor_by_name(request, "IMAGE").as_numpy()
            if encoded.ndim != 2 or encoded.shape[0] != 1:
                raise BadPicture(f"shape {list(encoded.shape)}; send one picture per request, as [1, bytes]")
            return self.detector.prepare(encoded.tobytes())
        except BadPicture as error:
            return pb.TritonError(f"bad picture: {error}", pb.TritonError.INVALID_ARG)
        except Exception as error:  # one item must not take the batch with it
            return pb.TritonError(f"cannot prepare the picture: {error!r}", pb.TritonError.INTERNAL)

    def _response(self, found: Found) -> Any:
        tensors = {
            "DETECTIONS": found.detections[None],
            "PROBABILITIES": found.probabilities[None].astype(np.float32),
            "EMBEDDING": found.embedding[None].astype(np.float32),
            "VERSION": np.array([[self.version]], np.int32),
        }
        return pb.InferenceResponse([pb.Tensor(name, np.ascontiguousarray(part)) for name, part in tensors.items()])
