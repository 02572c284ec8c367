"""A model that answers at once, or after a pause, without looking: what is left then is everything but inference.

It runs inside Triton. Its boxes follow from the picture's bytes, so that scores differ and repeat.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb
from numpy.typing import NDArray

CLASSES = 7
BOXES = 6
MIDDLE = 50_000  # of the pictures that are asked about, which have at least 100 KB


class TritonPythonModel:
    """What Triton's python backend calls."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read how long an answer takes."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.pause_s = float(parameters["pause_ms"]["string_value"]) / 1000
        self.version = int(args["model_version"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer a batch after the pause."""
        time.sleep(self.pause_s)
        return [self._answer(pb.get_input_tensor_by_name(request, "IMAGE").as_numpy()) for request in requests]

    def _answer(self, pictures: NDArray[np.uint8]) -> Any:
        """Make boxes from some bytes of each picture, where the shortest still has some."""
        count = len(pictures)
        bytes_ = pictures[:, MIDDLE : MIDDLE + 8 * BOXES].astype(np.float32).reshape(count, BOXES, 8) / 255
        corners = np.concatenate([bytes_[..., :2] * 0.8, bytes_[..., :2] * 0.8 + 0.05 + bytes_[..., 2:4] * 0.15], 2)
        classes = np.floor(bytes_[..., 5:6] * (CLASSES - 0.001))
        detections = np.concatenate([corners, bytes_[..., 4:5], classes], 2)
        tensors = {
            "DETECTIONS": detections,
            "PROBABILITIES": np.full((count, BOXES, CLASSES), 1 / CLASSES, np.float32),
            "EMBEDDING": np.resize(bytes_.reshape(count, -1).T, (64, count)).T,  # of each its own, again from the start
            "VERSION": np.full((count, 1), self.version, np.int32),
        }
        return pb.InferenceResponse([pb.Tensor(name, np.ascontiguousarray(part)) for name, part in tensors.items()])
