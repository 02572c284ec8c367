"""Small networks whose answers are known, and their cards: what a detector is to whoever plugs it in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from screen.serving.detector import Detector, open_detector

FLOAT, HALF, UINT8, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64
Floats = NDArray[np.float32]
Shape = Sequence[int | str]
NCHW: Shape = ("B", 3, 64, 64)


def constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def says(
    answers: Mapping[str, Any], *, images: str = "images", shape: Shape = NCHW, numbers: int = FLOAT, opset: int = 17
) -> onnx.ModelProto:
    """Return a network that says the same of every picture: an array of one picture per output."""
    nodes = [helper.make_node("Shape", [images], ["batch"], start=0, end=1)]
    constants, outputs = [], []
    for number, (name, value) in enumerate(answers.items()):
        array = np.asarray(value, np.float32)
        constants += [constant(f"c{number}", array[None]), constant(f"s{number}", np.array(array.shape, np.int64))]
        nodes.append(helper.make_node("Concat", ["batch", f"s{number}"], [f"t{number}"], axis=0))
        nodes.append(helper.make_node("Expand", [f"c{number}", f"t{number}"], [name]))
        outputs.append(helper.make_tensor_value_info(name, FLOAT, ["B", *array.shape]))
    given = helper.make_tensor_value_info(images, numbers, list(shape))
    return model(nodes, [given], outputs, constants, opset=opset)


def model(
    nodes: Any, inputs: Any, outputs: Any, constants: Any = (), *, opset: int = 17, ir: int = 8
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "network", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def folder(path: Path, network: onnx.ModelProto | bytes, **card: Any) -> Path:
    """Lay out a detector: a canvas of 64 x 64 and two classes, unless its card says otherwise."""
    path.mkdir(parents=True, exist_ok=True)
    raw = network if isinstance(network, bytes) else network.SerializeToString()
    (path / "model.onnx").write_bytes(raw)
    said = {"classes": ["car", "bus"], "input_width": 64, "input_height": 64, **card}
    (path / "detector.json").write_text(json.dumps(said))
    return path


def opened(path: Path, network: onnx.ModelProto, **card: Any) -> Detector:
    return open_detector(folder(path, network, **card), ["CPUExecutionProvider"])


def picture(width: int, height: int, colour: tuple[int, int, int] = (200, 120, 40)) -> bytes:
    """Return a PNG of one colour, RGB."""
    return bytes(cv2.imencode(".png", np.full((height, width, 3), colour[::-1], np.uint8))[1])
