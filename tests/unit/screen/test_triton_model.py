"""The Triton model: sizes without decoding, canvases and their undoing, suppression, one bad picture alone."""

import importlib.util
import json
import struct
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "services/screen/src/screen/serving/model.py"
CARD = {"input_width": 256, "input_height": 160}


@dataclass
class Tensor:
    """Stands for Triton's tensor."""

    name: str
    array: NDArray[Any]

    def as_numpy(self) -> NDArray[Any]:
        return self.array


@dataclass
class TritonError:
    """Stands for Triton's error."""

    message: str
    code: str
    INVALID_ARG = "invalid"
    INTERNAL = "internal"
    CANCELLED = "cancelled"


@dataclass
class Request:
    """Stands for a request with one input."""

    picture: NDArray[np.uint8]
    cancelled: bool = False

    def is_cancelled(self) -> bool:
        return self.cancelled


@dataclass
class Response:
    """Stands for Triton's response."""

    output_tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {tensor.name: tensor.array.shape for tensor in self.output_tensors}


@pytest.fixture(scope="module")
def model() -> Any:
    """Import model.py with a stand-in for the one module that only Triton has."""
    backend: Any = ModuleType("triton_python_backend_utils")
    backend.Tensor, backend.TritonError, backend.InferenceResponse = Tensor, TritonError, Response
    backend.get_input_tensor_by_name = lambda request, name: Tensor(name, request.picture)
    spec = importlib.util.spec_from_file_location("triton_model", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "triton_python_backend_utils", backend)
        spec.loader.exec_module(loaded)
    return loaded


def _picture(width: int, height: int, suffix: str = ".jpg") -> bytes:
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows % 256, columns % 256, np.full_like(rows, 90)], -1).astype(np.uint8)
    return bytes(cv2.imencode(suffix, image)[1])


def _bomb(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_size_is_read_from_the_header(model: Any, suffix: str) -> None:
    assert model.picture_size(_picture(321, 123, suffix)[:1200]) == (321, 123)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GIF89a" + bytes(40), id="another format"),
        pytest.param(b"\xff\xd8\xff\xe0", id="a header cut off"),
        pytest.param(b"\xff\xd8" + bytes(100), id="a JPEG of zeros"),
        pytest.param(_bomb(30_000, 30_000), id="a pixel bomb"),
        pytest.param(_bomb(0, 10), id="no pixels"),
        pytest.param(_bomb(64, 64), id="a PNG without pixels"),
        pytest.param(_picture(640, 400)[:3000], id="a JPEG cut off"),
    ],
)
def test_bad_pictures_are_refused(model: Any, encoded: bytes) -> None:
    with pytest.raises(model.BadPicture):
        model.decode(encoded, CARD)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param((256, 160), (160, 256), id="small: as it is"),
        pytest.param((1280, 720), (360, 640), id="720p: half"),
        pytest.param((1920, 1080), (270, 480), id="1080p: a quarter"),
    ],
)
def test_large_pictures_are_decoded_smaller(model: Any, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert model.decode(_picture(*size), CARD).shape[:2] == expected


@pytest.mark.parametrize("size", [(640, 360), (300, 900), (97, 31), (416, 416)])
@pytest.mark.parametrize("place", ["letterbox", "stretch"])
def test_undoing_a_canvas_gives_the_boxes_back(model: Any, place: str, size: tuple[int, int]) -> None:
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1]], np.float32)
    canvas, fit = getattr(model, place)(np.zeros((size[1], size[0], 3), np.uint8), (416, 416))
    pixels = boxes * np.array(size * 2) * np.array(fit.scale * 2) + np.array(fit.offset * 2)
    assert canvas.shape == (416, 416, 3)
    np.testing.assert_allclose(model.undo(pixels, fit), boxes, atol=1e-5)


BOXES = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.48], [0.6, 0.6, 0.9, 0.9], [0.1, 0.1, 0.5, 0.5]], np.float32)
SCORES = np.array([0.5, 0.9, 0.3, 0.6], np.float32)


@pytest.mark.parametrize(
    ("classes", "floor", "expected"),
    [
        pytest.param([1, 1, 1, 2], 0.05, [1, 3, 2], id="a better box of the class wins; other classes stay"),
        pytest.param([1, 1, 1, 1], 0.05, [1, 2], id="one class"),
        pytest.param([1, 1, 1, 2], 0.55, [1, 3], id="the floor goes first"),
        pytest.param([1, 1, 1, 2], 0.95, [], id="nothing above the floor"),
    ],
)
def test_collect(model: Any, classes: list[int], floor: float, expected: list[int]) -> None:
    detections, rows = model.collect(BOXES, SCORES, np.array(classes, np.float32), floor)
    assert rows.tolist() == expected
    assert detections.shape == (len(expected), 6)
    assert detections.dtype == np.float32


def test_at_most_a_hundred_detections(model: Any) -> None:
    corners = np.arange(300, dtype=np.float32)[:, None] / 300
    boxes = np.concatenate([corners, corners, corners + 0.001, corners + 0.001], 1)
    detections, _ = model.collect(boxes, np.linspace(0.1, 0.9, 300, dtype=np.float32), np.zeros(300), 0.05)
    assert len(detections) == 100
    assert detections[0, 4] == pytest.approx(0.9)


@pytest.fixture
def served(model: Any) -> Any:
    """Return a Triton model whose detector finds nothing, to test what surrounds it."""
    nothing = model.Found(np.zeros((0, 6), np.float32), np.zeros((0, 7), np.float32), np.zeros(96, np.float32))
    triton = model.TritonPythonModel()
    triton.version = 3
    triton.detector = SimpleNamespace(
        prepare=lambda encoded: model.decode(encoded, CARD), detect=lambda prepared: [nothing] * len(prepared)
    )
    return triton


def test_a_bad_picture_fails_alone(served: Any) -> None:
    good, bad = (np.frombuffer(raw, np.uint8)[None] for raw in (_picture(256, 160), b"no picture"))
    answers = served.execute([Request(good), Request(bad), Request(good, cancelled=True), Request(good)])
    assert [answer.error and answer.error.code for answer in answers] == [None, "invalid", "cancelled", None]


def test_no_detections_are_an_answer(served: Any) -> None:
    (answer,) = served.execute([Request(np.frombuffer(_picture(256, 160), np.uint8)[None])])
    assert answer.shapes() == {
        "DETECTIONS": (1, 0, 6),
        "PROBABILITIES": (1, 0, 7),
        "EMBEDDING": (1, 96),
        "VERSION": (1, 1),
    }


def test_two_pictures_in_one_request_are_refused(served: Any) -> None:
    (answer,) = served.execute([Request(np.zeros((2, 9), np.uint8))])
    assert answer.error.code == "invalid"


@pytest.mark.parametrize(
    "folder",
    [
        "services/trainer-trigger/detectors/nanodet-g-coco",
        *(f"services/trainer-trigger/detectors/{n}" for n in ("v0", "v1", "second")),
    ],
)
def test_the_shipped_detectors_open_and_answer(model: Any, folder: str) -> None:
    detector = model.Detector(ROOT / folder, ["CPUExecutionProvider"])
    (found,) = detector.detect([detector.prepare(_picture(320, 200))])
    card = json.loads((ROOT / folder / "detector.json").read_text())
    assert found.detections.shape[1] == 6
    assert found.probabilities.shape == (len(found.detections), len(card["classes"]))
    assert found.embedding.ndim == 1
