"""Hold a network's inputs and outputs against its card, and say why a network does not open."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxruntime.capi import onnxruntime_pybind11_state as errors

from screen.detector_check.finding import Finding
from screen.serving.card import Card
from screen.serving.detector import open_session

REFUSED = (
    *(errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf, errors.NoSuchFile),
    *(errors.NotImplemented, errors.RuntimeException),
)
NUMBERS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
WHY_IT_DOES_NOT_OPEN = (
    (
        r"is till opset (\d+)",
        "its opset is newer than the server's onnxruntime",
        "export it with opset {} at most",
    ),
    (
        r"max supported IR version: (\d+)",
        "its file format is newer than the server's",
        "save it as IR version {}",
    ),
    (
        r"xternal data",
        "its weights lie in another file, and only model.onnx is served",
        "save both as one file",
    ),
    (r"No Op registered for (\S+)", "it has an operator that is not in its opset", "export it without {}, or newer"),
    (r"(\S+) is not a registered", "it has an operator of another maker's", "export it without {}"),
    (r"Protobuf parsing failed|No graph was found", "it is no ONNX file, or a part of one", "copy or export it anew"),
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a network; a size that is free is a name or None."""

    name: str
    shape: tuple[int | str | None, ...]
    numbers: str  # as onnxruntime says it, such as tensor(float)

    def __str__(self) -> str:
        return f"{self.name} {NUMBERS.get(self.numbers, self.numbers)} {list(self.shape)}"


def open_network(file: Path) -> Any | Finding:
    """Return a session, or why there is none."""
    try:
        return open_session(file, ["CPUExecutionProvider"])
    except REFUSED as error:
        message = str(error)
    for pattern, what, remedy in WHY_IT_DOES_NOT_OPEN:
        if match := re.search(pattern, message):
            return Finding(f"model.onnx does not open: {what}", remedy.format(*match.groups()))
    return Finding(f"model.onnx does not open: {message[:300]}", "look that up, and export the network anew")


def tensors_of(descriptions: Sequence[Any]) -> tuple[Tensor, ...]:
    """Return what a session says of its inputs or outputs."""
    return tuple(Tensor(description.name, tuple(description.shape), description.type) for description in descriptions)


def check_network(card: Card, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Finding]:
    """Say what of a network is not as its card has it."""
    input_by_name = {tensor.name: tensor for tensor in inputs}
    missing = (
        [_describe_missing("images", card, "input", inputs)] if card.tensors["images"] not in input_by_name else []
    )
    others = [str(tensor) for tensor in inputs if tensor.name != card.tensors["images"]]
    if others and not missing:
        missing = [Finding(f"the network wants other inputs too: {', '.join(others)}", "export it with pictures alone")]
    names = {tensor.name for tensor in outputs}
    missing += [
        _describe_missing(role, card, "output", outputs) for role in card.outputs if card.tensors[role] not in names
    ]
    images = input_by_name.get(card.tensors["images"])
    return missing + (list(_check_images(card, images)) if images else [])


def _describe_missing(role: str, card: Card, kind: str, tensors: Sequence[Tensor]) -> Finding:
    return Finding(
        f"the network has no {kind} {card.tensors[role]!r}; it has {', '.join(map(str, tensors))}",
        f'name the right one in the card, as in "tensors": {{"{role}": "{tensors[0].name if tensors else ""}"}}',
    )


def _check_images(card: Card, images: Tensor) -> Iterator[Finding]:
    numbers = NUMBERS.get(images.numbers)
    if numbers is None:
        yield Finding(f"the network wants {images.numbers}", "export it for float32, float16 or uint8")
    elif numbers != card.dtype:
        yield Finding(f"the network wants {numbers}, but dtype is {card.dtype}", f'set "dtype": "{numbers}"')
    if len(images.shape) != 4:
        yield Finding(f"the network wants {list(images.shape)}, not a batch of pictures", "export it with 4 dimensions")
        return
    if isinstance(images.shape[0], int):
        yield _describe_fixed_batch(images.shape[0])
    if problem := _check_canvas(card, images.shape):
        yield problem


def _describe_fixed_batch(size: int) -> Finding:
    remedy = "export it with a free batch dimension (dynamic axes)"
    if size == 1:
        return Finding("the network takes one picture at a time, so batches do not help it", remedy, grave=False)
    return Finding(f"the network takes exactly {size} pictures at a time", remedy)


def _check_canvas(card: Card, shape: Sequence[int | str | None]) -> Finding | None:
    """Hold the sizes that a network has fixed against the card's; what it leaves free is as the card has it."""
    layout = {(True, False): "nchw", (False, True): "nhwc"}.get((shape[1] == 3, shape[3] == 3), card.layout)
    channels, height, width = shape[1:] if layout == "nchw" else (shape[3], shape[1], shape[2])
    if isinstance(channels, int) and channels != 3:
        return Finding(f"the network wants {channels} channels", "take one that looks at colour pictures")
    fixed_sizes: dict[str, int | str] = {"layout": layout}
    fixed_sizes |= {n: size for n, size in (("input_height", height), ("input_width", width)) if isinstance(size, int)}
    wrong = {name: size for name, size in fixed_sizes.items() if getattr(card, name) != size}
    if not wrong:
        return None
    has = ", ".join(f"{name} {getattr(card, name)}" for name in wrong)
    wants = json.dumps(wrong).strip("{}")
    return Finding(f"the network's canvas is another than the card's ({has})", f"set {wants}")
