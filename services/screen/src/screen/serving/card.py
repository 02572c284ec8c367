"""A detector's card: what of a network its graph does not say. What a card leaves out is as its family has it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

BoxFormat = Literal["xyxy", "cxcywh"]
BoxUnit = Literal["pixel", "share"]
OPTIONAL_TENSOR = "embedding"  # where a network has none, the picture's layout takes its place
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

FAMILIES: Mapping[str, Mapping[str, Any]] = {
    # peaks picked and boxes decoded in the graph, as the sample trainer exports them
    "roadloop": {
        "layout": "nhwc",
        "dtype": "uint8",
        "fit": "stretch",
        "box_unit": "share",
        "tensors": {name: name for name in ("images", "detections", "probabilities", "embedding")},
    },
    # boxes decoded in the graph, one row per cell; each class of a cell may be an object
    "nanodet": {"tensors": {name: name for name in ("images", "boxes", "scores", "embedding")}},
    # one tensor with boxes and classes side by side: [4 + C, N] or [N, 4 + C], with objectness 5 + C
    "yolo": {
        "scale": 1 / 255,
        "pad": 114,
        "box_format": "cxcywh",
        "tensors": {"images": "images", "predictions": "output0"},
    },
    # one row per query; a softmax has a last column for no object
    "detr": {
        **_IMAGENET,
        "scale": 1 / 255,
        "fit": "stretch",
        "box_format": "cxcywh",
        "box_unit": "share",
        "activation": "softmax",
        "suppress_from": 1.0,
        "tensors": {"images": "pixel_values", "scores": "logits", "boxes": "pred_boxes"},
    },
}


class UnknownFamily(ValueError):
    """A card names a family that this server does not read."""


@dataclass(frozen=True)
class Card:
    """How to feed a network, and how to read its answer."""

    family: str
    classes: tuple[str, ...]
    input_width: int
    input_height: int
    tensors: Mapping[str, str]  # what a tensor is for -> its name in the graph
    score_floor: float = 0.05
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    colours: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0  # the network is given (pixel x scale - mean) / std; as uint8 the pixel itself
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # in the network's order of colours, as is std
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fit: Literal["letterbox", "stretch"] = "letterbox"
    pad: int = 0  # 0..255, the grey beside a letterboxed picture
    box_format: BoxFormat = "xyxy"
    box_unit: BoxUnit = "pixel"  # of the canvas
    activation: Literal["none", "sigmoid", "softmax"] = "none"  # what is left to do to the scores
    no_object: bool = False  # the last score stands for no object
    objectness: bool = False  # a score of its own, before those of the classes
    suppress_from: float = 0.5  # intersection over union from which the worse of two boxes goes; 1: none does

    @property
    def size(self) -> tuple[int, int]:
        """Return the canvas's width and height in pixels."""
        return self.input_width, self.input_height

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return what the network's outputs are for."""
        return tuple(role for role in self.tensors if role != "images")


def read_card(content: Mapping[str, Any]) -> Card:
    """Fill up what a card says with what its family has; null is as good as absent. Raises UnknownFamily."""
    given = {name: value for name, value in content.items() if value is not None}
    family = FAMILIES.get(given["family"])
    if family is None:
        raise UnknownFamily(f"family {given['family']!r} is none of {', '.join(FAMILIES)}")
    filled = {**family, **given, "tensors": {**family["tensors"], **given.get("tensors", {})}}
    filled.setdefault("no_object", filled.get("activation") == "softmax")
    field_names = {field.name for field in fields(Card)}
    return Card(**{name: _freeze(value) for name, value in filled.items() if name in field_names})


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
