"""A network with its card: prepared pictures in, what was found out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from .answer import Answer, DetectorResult, read_answer
from .canvas import Prepared, decode, prepare
from .card import Card, read_card

# Measured on an H100: to try every algorithm, which is the default, takes a second, and what it picks is three times as
# slow. With TF32's ten bits, boxes on the verge come and go, and a GPU would not see what the CPU sees.
CUDA = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}


class Detector:
    """Keeps nothing between calls, so threads may share it."""

    def __init__(self, card: Card, session: Any) -> None:
        self.card = card
        self.session = session
        self._alone = session.get_inputs()[0].shape[0] == 1  # exported for one picture at a time

    def prepare(self, encoded: bytes) -> Prepared:
        """Return the network's input for one picture file; raise BadPicture for what is none."""
        return prepare(decode(encoded, self.card.size), self.card)

    def detect(self, prepared: Sequence[Prepared]) -> list[DetectorResult]:
        """Judge prepared pictures together. Raises WrongAnswer where the network and its card disagree."""
        answers = self.run_network(prepared)
        return [read_answer(a, self.card, p.fit, p.layout) for a, p in zip(answers, prepared, strict=True)]

    def run_network(self, prepared: Sequence[Prepared]) -> list[Answer]:
        """Return what the network says of each picture, unread."""
        if self._alone:
            return [answer for picture in prepared for answer in self._run([picture])]
        return self._run(prepared)

    def _run(self, prepared: Sequence[Prepared]) -> list[Answer]:
        card = self.card
        images = np.stack([picture.pixels for picture in prepared])
        answers = self.session.run([card.tensors[role] for role in card.outputs], {card.tensors["images"]: images})
        rows = zip(*answers, strict=True)
        return [dict(zip(card.outputs, (np.asarray(part, np.float32) for part in row), strict=True)) for row in rows]


def open_detector(folder: Path, providers: Sequence[Any]) -> Detector:
    """Open the detector of a folder and judge a grey picture.

    So a broken release fails while it is loaded, and a good one is warm.
    """
    card = read_card(json.loads((folder / "detector.json").read_text()))
    detector = Detector(card, open_session(folder / "model.onnx", providers))
    judge_grey(detector)
    return detector


def judge_grey(detector: Detector) -> None:
    """Judge a grey picture. Raises WrongAnswer, or what onnxruntime raises, where the network fails."""
    card = detector.card
    detector.detect([prepare(np.full((card.input_height, card.input_width, 3), 114, np.uint8), card)])


def open_session(network: Path, providers: Sequence[Any]) -> Any:
    """Open a network for one thread, as it serves: instances are the lever, not threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(network), options, providers=list(providers))


def choose_providers(kind: str, device: str) -> list[Any]:
    """Return where a network runs, best first: on that GPU where Triton gives one and this onnxruntime can use it."""
    if kind == "GPU" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()  # CUDA's libraries may lie in packages, where the loader does not look
        return [("CUDAExecutionProvider", {"device_id": device, **CUDA}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]
