"""Serve one detector in Triton: picture files in; boxes, probabilities and an embedding out.

The file lies in a version directory beside `model.onnx` and `detector.json`. A bad picture fails alone.
It runs in Triton's own environment (numpy 1, onnxruntime, opencv) and imports nothing else.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb

MAX_PIXELS = 40_000_000
MAX_DETECTIONS = 100
MAX_CANDIDATES = 400  # per picture, best first, before suppression
SAME_OBJECT = 0.5  # intersection over union


class BadPicture(ValueError):
    """The bytes are no picture this server judges; sending them again will not help."""


class Fit(NamedTuple):
    """How a picture was put on the network's canvas: canvas = picture x scale + offset, in pixels."""

    picture: tuple[int, int]  # width, height
    scale: tuple[float, float]
    offset: tuple[float, float]


class Found(NamedTuple):
    """A picture's detections, best first."""

    detections: np.ndarray  # FP32 [N, 6]: x1, y1, x2, y2 in 0..1, score, class index
    probabilities: np.ndarray  # FP32 [N, C]
    embedding: np.ndarray  # FP32 [D]


def picture_size(encoded: bytes) -> tuple[int, int]:
    """Return width and height from a JPEG's or PNG's header, without decoding it."""
    if encoded[:8] == b"\x89PNG\r\n\x1a\n" and len(encoded) >= 24:
        return struct.unpack(">II", encoded[16:24])
    if encoded[:2] != b"\xff\xd8":
        raise BadPicture("neither JPEG nor PNG")
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker, length = encoded[place + 1], struct.unpack(">H", encoded[place + 2 : place + 4])[0]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", encoded[place + 5 : place + 9])
            return width, height
        place += 2 + length
    raise BadPicture("a JPEG without a size")


def decode(encoded: bytes, card: dict[str, Any]) -> np.ndarray:
    """Return the picture as [H, W, 3] RGB; scaled down by 2 or 4 where that still is all the network needs."""
    width, height = picture_size(encoded)
    if not 0 < width * height <= MAX_PIXELS:
        raise BadPicture(f"{width} x {height} pixels; at most {MAX_PIXELS} are allowed")
    room = min(width, height) / max(card["input_width"], card["input_height"])
    flag = cv2.IMREAD_COLOR
    for factor, reduced in ((2, cv2.IMREAD_REDUCED_COLOR_2), (4, cv2.IMREAD_REDUCED_COLOR_4)):
        flag = reduced if room >= factor else flag
    try:
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    except cv2.error:
        picture = None
    if picture is None:
        raise BadPicture("the picture is damaged")
    return picture[:, :, ::-1]


def stretch(picture: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Fit]:
    """Fill the canvas of `size` = width, height, whatever the picture's shape."""
    height, width = picture.shape[:2]
    if (width, height) != size:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return picture, Fit((width, height), (size[0] / width, size[1] / height), (0.0, 0.0))


def letterbox(picture: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Fit]:
    """Put the picture in the middle of a black canvas of `size` = width, height, keeping its shape."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas, Fit((width, height), (inner[0] / width, inner[1] / height), (left, top))


def undo(boxes: np.ndarray, fit: Fit) -> np.ndarray:
    """Bring boxes [N, 4] from canvas pixels to 0..1 of the picture, cut at its edge."""
    offset, scale, size = (np.array(pair * 2, np.float32) for pair in (fit.offset, fit.scale, fit.picture))
    return np.clip((boxes - offset) / scale / size, 0, 1)


def suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the indices to keep, best first: a box goes when a better one of its class covers it."""
    apart = boxes + 2.0 * classes[:, None]  # boxes of different classes cannot meet
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    waiting, kept = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES], []
    while waiting.size and len(kept) < MAX_DETECTIONS:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        low, high = np.maximum(apart[best, :2], apart[waiting, :2]), np.minimum(apart[best, 2:], apart[waiting, 2:])
        shared = np.maximum(high - low, 0).prod(1)
        waiting = waiting[shared <= SAME_OBJECT * np.maximum(area[best] + area[waiting] - shared, 1e-9)]
    return np.array(kept, int)


def collect(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return detections [N, 6] above the floor, and which rows of the input they are."""
    rows = np.flatnonzero(scores >= floor)
    rows = rows[suppress(boxes[rows], scores[rows], classes[rows])]
    table = np.concatenate([boxes[rows], scores[rows, None], classes[rows, None]], 1)
    return table.astype(np.float32), rows


class Roadloop:
    """Detectors of the sample trainer: stretched uint8 pictures in, peaks already picked."""

    outputs = ("detections", "probabilities", "embedding")

    def prepare(self, picture: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Fit]:
        """Return the network's input for one picture."""
        return stretch(picture, size)

    def read(self, answer: tuple[np.ndarray, ...], fit: Fit, floor: float) -> Found:
        """Return what the network found on one picture."""
        table, probabilities, embedding = answer
        detections, rows = collect(table[:, :4], table[:, 4], table[:, 5], floor)
        return Found(detections, probabilities[rows], embedding)


class NanoDet:
    """NanoDet as exported with decoded boxes: letterboxed float pictures in, one row per cell out."""

    outputs = ("boxes", "scores", "embedding")

    def prepare(self, picture: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Fit]:
        """Return the network's input for one picture."""
        canvas, fit = letterbox(picture, size)
        return canvas.transpose(2, 0, 1).astype(np.float32), fit

    def read(self, answer: tuple[np.ndarray, ...], fit: Fit, floor: float) -> Found:
        """Return what the network found on one picture; a cell speaks for each class above the floor."""
        boxes, scores, embedding = answer
        cells, classes = np.nonzero(scores >= floor)
        best = np.argsort(-scores[cells, classes], kind="stable")[:MAX_CANDIDATES]
        cells, classes = cells[best], classes[best]
        detections, rows = collect(undo(boxes[cells], fit), scores[cells, classes], classes, floor)
        return Found(detections, scores[cells[rows]], embedding)


FAMILIES = {"roadloop": Roadloop, "nanodet": NanoDet}


class Detector:
    """A network with its card. Open once, used by one thread."""

    def __init__(self, folder: Path, providers: list[Any]) -> None:
        self.card = json.loads((folder / "detector.json").read_text())
        self.family = FAMILIES[self.card["family"]]()
        self.size = self.card["input_width"], self.card["input_height"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=providers)
        self._try()

    def prepare(self, encoded: bytes) -> tuple[np.ndarray, Fit]:
        """Return the network's input for one picture file; raise BadPicture for what is none."""
        return self.family.prepare(decode(encoded, self.card), self.size)

    def detect(self, prepared: list[tuple[np.ndarray, Fit]]) -> list[Found]:
        """Judge prepared pictures together."""
        canvases = np.stack([canvas for canvas, _ in prepared])
        answers = self.session.run(list(self.family.outputs), {"images": canvases})
        floor = self.card["score_floor"]
        rows = zip(*answers, strict=True)
        return [self.family.read(answer, fit, floor) for answer, (_, fit) in zip(rows, prepared, strict=True)]

    def _try(self) -> None:
        """Judge a grey picture, so that a broken release fails while it is loaded, and a good one is warm."""
        grey = self.family.prepare(np.full((self.size[1], self.size[0], 3), 114, np.uint8), self.size)
        (found,) = self.detect([grey])
        if found.probabilities.shape[1] != len(self.card["classes"]):
            raise ValueError(f"the network has {found.probabilities.shape[1]} classes, detector.json other ones")


class TritonPythonModel:
    """What Triton's python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the detector of this version's directory."""
        self.version = int(args["model_version"])
        self.detector = Detector(Path(args["model_repository"]) / args["model_version"], _providers(args))

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


def _providers(args: dict[str, str]) -> list[Any]:
    if args.get("model_instance_kind") == "GPU":
        return [("CUDAExecutionProvider", {"device_id": args["model_instance_device_id"]}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]
