"""Write a network as one ONNX graph from pixels to boxes, and compare the two."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from flax import nnx
from jax2onnx import to_onnx
from numpy.typing import NDArray

from roadloop_trainer.dataset import INPUT_HEIGHT, INPUT_WIDTH
from roadloop_trainer.networks import Heads

PEAKS = 50  # detections per picture
MAX_DIFFERENCE = 1e-3


class DetectorResult(NamedTuple):
    """What the exported graph returns."""

    detections: jax.Array  # [B, PEAKS, 6]: x1, y1, x2, y2 in 0..1, score, class index; best first
    probabilities: jax.Array  # [B, PEAKS, C]
    embedding: jax.Array  # [B, D]


class ParityError(RuntimeError):
    """The ONNX graph does not say what the network says; it must not be used."""


def make_detect_function(network: nnx.Module) -> Callable[[jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    """Return the function from pictures [B, 160, 256, 3] to `DetectorResult` that is exported."""
    network.eval()

    def detect(images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return tuple(_decode_heads(network(images)))

    return detect


def write_onnx(network: nnx.Module, path: Path) -> None:
    """Write the graph with a free batch size."""
    (batch,) = jax.export.symbolic_shape("B")
    pictures = jax.ShapeDtypeStruct((batch, INPUT_HEIGHT, INPUT_WIDTH, 3), jnp.uint8)
    logging.getLogger("onnx_ir.serde").setLevel(logging.ERROR)  # it warns of every shape it leaves out
    graph = to_onnx(
        make_detect_function(network),
        [pictures],
        opset=17,
        input_names=["images"],
        output_names=list(DetectorResult._fields),
    )
    del graph.graph.value_info[:]  # its shape hints after a convolution are in the wrong order
    onnx.checker.check_model(graph)
    path.write_bytes(graph.SerializeToString())


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open a graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check_parity(network: nnx.Module, path: Path, images: NDArray[np.uint8]) -> float:
    """Return the largest difference between network and graph on `images`; raise ParityError when it is too large.

    A detection is compared with the nearest one of the other side: equal scores may come in any order.
    """
    ours = DetectorResult(*(np.asarray(part) for part in jax.jit(make_detect_function(network))(jnp.asarray(images))))
    theirs = DetectorResult(*open_session(path).run(list(DetectorResult._fields), {"images": images}))
    difference = float(np.abs(ours.embedding - theirs.embedding).max())
    for result, other in ((ours, theirs), (theirs, ours)):
        left, right = (np.concatenate([side.detections, side.probabilities], -1) for side in (result, other))
        apart = np.abs(left[:, : PEAKS // 2, None] - right[:, None]).max(-1).min(-1)
        difference = max(difference, float(apart.max()))
    if not difference <= MAX_DIFFERENCE:
        raise ParityError(f"{path}: the exported graph differs from the network by {difference:.2g}; do not use it")
    return difference


def _decode_heads(heads: Heads) -> DetectorResult:
    chances = jax.nn.sigmoid(heads.heat)
    rows, columns, kinds = chances.shape[1:]
    around = nnx.max_pool(chances, window_shape=(3, 3), strides=(1, 1), padding="SAME")
    peaks = jnp.where(chances >= around, chances, 0.0).reshape(-1, rows * columns * kinds)
    scores, places = jax.lax.top_k(peaks, PEAKS)
    cells = jax.lax.div(places, kinds)
    classes = places - cells * kinds
    y = jax.lax.div(cells, columns)
    x = cells - y * columns
    edges = _take_cells(heads.edges.reshape(-1, rows * columns, 4), cells)
    middle = jnp.stack([x, y, x, y], -1) + 0.5
    size = jnp.array([columns, rows, columns, rows], jnp.float32)
    boxes = jnp.clip((middle + edges * jnp.array([-1.0, -1.0, 1.0, 1.0])) / size, 0.0, 1.0)
    detections = jnp.concatenate([boxes, scores[..., None], classes[..., None].astype(jnp.float32)], -1)
    return DetectorResult(detections, _take_cells(chances.reshape(-1, rows * columns, kinds), cells), heads.embedding)


def _take_cells(values: jax.Array, cells: jax.Array) -> jax.Array:
    return jnp.take_along_axis(values, cells[..., None], axis=1)
