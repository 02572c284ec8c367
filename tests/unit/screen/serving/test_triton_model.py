"""The Triton model: sizes without decoding, canvases and their undoing, suppression, one bad picture alone."""

import importlib
import json
import struct
import sys
import zlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from screen.serving.answer import DetectorResult, suppress
from screen.serving.canvas import BadPicture, decode, letterbox, read_picture_size, stretch, undo
from screen.serving.detector import choose_providers, open_detector

ROOT = Path(__file__).parents[4]
SIZE = (256, 160)


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
    backend.Logger = SimpleNamespace(log_info=lambda line: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "triton_python_backend_utils", backend)
        return importlib.import_module("screen.serving.model")


def _picture(width: int, height: int, suffix: str = ".jpg") -> bytes:
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows % 256, columns % 256, np.full_like(rows, 90)], -1).astype(np.uint8)
    return bytes(cv2.imencode(suffix, image)[1])


def _bomb(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_size_is_read_from_the_header(suffix: str) -> None:
    assert read_picture_size(_picture(321, 123, suffix)[:1200]) == (321, 123)


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
def test_bad_pictures_are_refused(encoded: bytes) -> None:
    with pytest.raises(BadPicture):
        decode(encoded, SIZE)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param((256, 160), (160, 256), id="small: as it is"),
        pytest.param((1280, 720), (360, 640), id="720p: half"),
        pytest.param((1920, 1080), (270, 480), id="1080p: a quarter"),
    ],
)
def test_large_pictures_are_decoded_smaller(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert decode(_picture(*size), SIZE).shape[:2] == expected


@pytest.mark.parametrize("size", [(640, 360), (300, 900), (97, 31), (416, 416)])
@pytest.mark.parametrize("place", [partial(letterbox, pad=114), stretch], ids=["letterbox", "stretch"])
def test_undoing_a_canvas_gives_the_boxes_back(place: Any, size: tuple[int, int]) -> None:
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1]], np.float32)
    canvas, fit = place(np.zeros((size[1], size[0], 3), np.uint8), (416, 416))
    pixels = boxes * np.array(size * 2) * np.array(fit.scale * 2) + np.array(fit.offset * 2)
    assert canvas.shape == (416, 416, 3)
    np.testing.assert_allclose(undo(pixels, fit), boxes, atol=1e-5)


BOXES = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.48], [0.6, 0.6, 0.9, 0.9], [0.1, 0.1, 0.5, 0.5]], np.float32)
SCORES = np.array([0.5, 0.9, 0.3, 0.6], np.float32)


@pytest.mark.parametrize(
    ("classes", "covered_from", "expected"),
    [
        pytest.param([1, 1, 1, 2], 0.5, [1, 3, 2], id="a better box of the class wins; other classes stay"),
        pytest.param([1, 1, 1, 1], 0.5, [1, 2], id="one class"),
        pytest.param([1, 1, 1, 1], 0.98, [1, 3, 2], id="the same box twice"),
        pytest.param([1, 1, 1, 1], 1.0, [1, 3, 0, 2], id="none covers another"),
    ],
)
def test_suppress(classes: list[int], covered_from: float, expected: list[int]) -> None:
    assert suppress(BOXES, SCORES, np.array(classes, np.float32), covered_from).tolist() == expected


def test_at_most_a_hundred_detections() -> None:
    corners = np.arange(300, dtype=np.float32)[:, None] / 300
    boxes = np.concatenate([corners, corners, corners + 0.001, corners + 0.001], 1)
    kept = suppress(boxes, np.linspace(0.1, 0.9, 300, dtype=np.float32), np.zeros(300), 0.5)
    assert (len(kept), kept[0]) == (100, 299)


@pytest.fixture
def served(model: Any) -> Any:
    """Return a Triton model whose detector finds nothing, to test what surrounds it."""
    nothing = DetectorResult(np.zeros((0, 6), np.float32), np.zeros((0, 7), np.float32), np.zeros(96, np.float32))
    triton = model.TritonPythonModel()
    triton.version = 3
    triton.detector = SimpleNamespace(
        prepare=lambda encoded: decode(encoded, SIZE), detect=lambda prepared: [nothing] * len(prepared)
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


def test_pictures_of_one_request_are_answered_together_or_not_at_all(served: Any) -> None:
    counts = (2, 0, 1)

    def detect(prepared: list[Any]) -> list[DetectorResult]:
        return [
            DetectorResult(np.ones((n, 6)), np.ones((n, 7)), np.full(96, n))
            for n, _ in zip(counts, prepared, strict=True)
        ]

    served.detector.detect = detect
    good, bad = _picture(256, 160), b"no picture".ljust(len(_picture(256, 160)), b"\0")
    one, two = (np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1) for rows in ([good], [good, good]))
    broken = np.frombuffer(good + bad, np.uint8).reshape(2, -1)
    first, refused, last = served.execute([Request(two), Request(broken), Request(one)])
    assert refused.error.code == "invalid"
    detections, _, embeddings, versions = (tensor.array for tensor in first.output_tensors)
    assert detections[:, :, 4].tolist() == [[1, 1], [-1, -1]]
    assert (embeddings[:, 0].tolist(), versions.tolist()) == ([2, 0], [[3], [3]])
    assert last.shapes()["DETECTIONS"] == (1, 1, 6)


def test_what_fills_a_row_up_is_no_part_of_a_picture(served: Any) -> None:
    """A decoder takes zeros for the rest of a picture that was cut off."""
    seen: list[bytes] = []
    served.detector.prepare = seen.append
    whole = _picture(256, 160)
    served.execute([Request(np.frombuffer(whole + whole[:900].ljust(len(whole), b"\0"), np.uint8).reshape(2, -1))])
    assert seen == [whole, whole[:900].rstrip(b"\0")]


def test_a_request_without_rows_is_refused(served: Any) -> None:
    (answer,) = served.execute([Request(np.zeros(9, np.uint8))])
    assert answer.error.code == "invalid"


@pytest.mark.parametrize(
    "folder",
    [
        "services/trainer-trigger/detectors/nanodet-g-coco",
        *(f"services/trainer-trigger/detectors/{n}" for n in ("v0", "v1", "second")),
    ],
)
def test_the_shipped_detectors_open_and_answer(folder: str) -> None:
    detector = open_detector(ROOT / folder, ["CPUExecutionProvider"])
    (found,) = detector.detect([detector.prepare(_picture(320, 200))])
    card = json.loads((ROOT / folder / "detector.json").read_text())
    assert found.detections.shape[1] == 6
    assert found.probabilities.shape == (len(found.detections), len(card["classes"]))
    assert found.embedding.ndim == 1


CUDA = ("CUDAExecutionProvider", {"device_id": "1", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
CPU = "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("kind", "there", "expected"),
    [
        pytest.param("GPU", [CUDA[0], CPU], [CUDA, CPU], id="the GPU that Triton gives"),
        pytest.param("CPU", [CUDA[0], CPU], [CPU], id="Triton gives the CPU"),
        pytest.param("GPU", [CPU], [CPU], id="an onnxruntime without CUDA"),
    ],
)
def test_where_a_network_runs(
    kind: str, there: list[str], expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: there)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: loaded.append("cuda"))
    assert choose_providers(kind, "1") == expected
    assert bool(loaded) == (expected[0] is CUDA)


def test_a_version_directory_stands_alone(model: Any, tmp_path: Path) -> None:
    detectors = ROOT / "services/trainer-trigger/detectors/v0"
    for name in ("model.onnx", "detector.json"):
        (tmp_path / "7").mkdir(exist_ok=True)
        (tmp_path / "7" / name).write_bytes((detectors / name).read_bytes())
    triton = model.TritonPythonModel()
    triton.initialize({"model_name": "m", "model_version": "7", "model_repository": str(tmp_path)})
    (answer,) = triton.execute([Request(np.frombuffer(_picture(320, 200), np.uint8)[None])])
    assert answer.error is None
    assert answer.shapes()["EMBEDDING"] == (1, 96)
