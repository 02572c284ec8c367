"""NanoDet's own weights under a YOLO's and a DETR's head: the same boxes come out, by another card alone."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from screen.detector_check.synthetic_pictures import draw_pictures
from screen.serving.answer import DetectorResult, read_answer
from screen.serving.card import read_card
from screen.serving.detector import Detector, open_session
from tests.unit.screen.networks import FLOAT, constant, helper

ROOT = Path(__file__).parents[4] / "services/trainer-trigger/detectors/nanodet-g-coco"
BASE = {"classes": [f"class {index}" for index in range(80)], "input_width": 416, "input_height": 416}
# as NanoDet is fed, whatever family's head it has
FED = {"scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1], "fit": "letterbox", "pad": 0, "suppress_from": 0.5}
TENSORS = {"images": "images", "embedding": "embedding"}


def reheaded(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], outputs: dict[str, list[Any]]) -> bytes:
    """Return NanoDet with centres and sizes in place of corners, and more nodes behind."""
    network = onnx.load(ROOT / "model.onnx")
    graph = network.graph
    halves = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]], np.float32)
    graph.initializer.extend([constant("to_centres", halves), *constants])
    graph.node.extend([helper.make_node("MatMul", ["boxes", "to_centres"], ["as_centres"]), *nodes])
    graph.output.extend(helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items())
    return bytes(network.SerializeToString())


def yolo() -> bytes:
    head = [
        helper.make_node("Concat", ["as_centres", "scores"], ["side_by_side"], axis=2),
        helper.make_node("Transpose", ["side_by_side"], ["output0"], perm=[0, 2, 1]),
    ]
    return reheaded(head, [], {"output0": ["N", 84, 3549]})


def detr() -> bytes:
    head = [
        helper.make_node("Div", ["as_centres", "side"], ["pred_boxes"]),
        helper.make_node("Sub", ["one", "scores"], ["rest"]),
        helper.make_node("Div", ["scores", "rest"], ["odds"]),
        helper.make_node("Log", ["odds"], ["logits"]),
    ]
    numbers = [constant("side", np.array(416, np.float32)), constant("one", np.array(1, np.float32))]
    return reheaded(head, numbers, {"pred_boxes": ["N", 3549, 4], "logits": ["N", 3549, 80]})


def detector(path: Path, network: bytes, **card: Any) -> Detector:
    (path / "model.onnx").write_bytes(network)
    return Detector(read_card({**BASE, **card}), open_session(path / "model.onnx", ["CPUExecutionProvider"]))


def of_best_class(nanodet: Detector, encoded: bytes) -> DetectorResult:
    """Return what NanoDet sees where a cell may speak for its best class only, as in a YOLO and a DETR."""
    prepared = nanodet.prepare(encoded)
    (answer,) = nanodet.run_network([prepared])
    best = answer["scores"] == answer["scores"].max(1, keepdims=True)
    return read_answer({**answer, "scores": answer["scores"] * best}, nanodet.card, prepared.fit, prepared.layout)


@pytest.mark.parametrize(
    ("network", "card"),
    [
        pytest.param(yolo, {"family": "yolo", "tensors": TENSORS}, id="yolo"),
        pytest.param(detr, {"family": "detr", "activation": "sigmoid", "tensors": TENSORS}, id="detr"),
    ],
)
def test_the_same_weights_see_the_same(network: Any, card: dict[str, Any], tmp_path: Path) -> None:
    nanodet = detector(tmp_path, (ROOT / "model.onnx").read_bytes(), family="nanodet")
    other = detector(tmp_path, network(), **FED, **card)
    for _, encoded in draw_pictures():
        (found,) = other.detect([other.prepare(encoded)])
        expected = of_best_class(nanodet, encoded)
        assert len(found.detections) > 5
        np.testing.assert_allclose(found.detections, expected.detections, atol=2e-4)
        np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-4)
