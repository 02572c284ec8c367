"""Everything that can be wrong with a detector is named, with what to do; and a good one has nothing wrong."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from screen.detector_check.card_file import read_detector_card
from screen.detector_check.check import Picture, open_detector_folder, try_detector
from screen.detector_check.finding import Finding
from screen.detector_check.synthetic_pictures import draw_pictures
from screen.serving.card import Card
from screen.serving.detector import Detector
from tests.unit.screen.networks import FLOAT, HALF, INT64, UINT8, constant, folder, helper, model, picture, says

# [N, 6]: cxcywh on a canvas of 64 x 64, then two classes; rows in number as a network has them, unlike 4 + C
GOOD = np.array([[32, 32, 16, 16, 0.1, 0.8], [10, 30, 8, 8, 0.01, 0.02], [50, 50, 9, 9, 0.3, 0.01]])
YOLO = says({"output0": GOOD})
PICTURES = [("a.png", picture(128, 64)), ("b.png", picture(64, 96, (10, 90, 200)))]
LOGITS, CENTRES = np.array([[-2.0, 3, 1], [-4, -5, 6]]), np.array([[0.5, 0.5, 0.2, 0.2], [0.2, 0.3, 0.1, 0.1]])


def detr(logits: Any = LOGITS, boxes: Any = CENTRES) -> onnx.ModelProto:
    return says({"logits": logits, "pred_boxes": boxes}, images="pixel_values")


def with_scores(*rows: Sequence[float]) -> onnx.ModelProto:
    return says({"output0": np.concatenate([GOOD[:, :4], np.array(rows)], 1)})


def with_boxes(*rows: Sequence[float]) -> onnx.ModelProto:
    return says({"output0": np.concatenate([np.array(rows), GOOD[:, 4:]], 1)})


def findings(
    path: Path,
    network: onnx.ModelProto | bytes,
    pictures: Sequence[Picture] = PICTURES,
    *,
    drawn: bool = False,
    **card: Any,
) -> list[Finding]:
    detector = open_detector_folder(folder(path, network, **{"family": "yolo", **card}))
    if isinstance(detector, Detector):
        return try_detector(detector, pictures, silent, synthetic=drawn)
    return detector


def silent(picture: Picture, found: object) -> None:
    """Hear what is told of a picture, and say nothing."""


@pytest.mark.parametrize(
    ("network", "card"),
    [
        pytest.param(YOLO, {}, id="yolo"),
        pytest.param(detr(), {"family": "detr"}, id="detr"),
    ],
)
def test_a_good_detector_has_nothing_wrong(network: onnx.ModelProto, card: Any, tmp_path: Path) -> None:
    assert findings(tmp_path, network, **card) == []


def test_a_good_detector_finds_what_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    detector = open_detector_folder(folder(tmp_path, YOLO, family="yolo"))
    assert isinstance(detector, Detector)
    shown = [*PICTURES, ("c.txt", b"no picture")]
    said = try_detector(
        detector, shown, lambda p, f: told.append((p[0], len(getattr(f, "detections", ())))), synthetic=False
    )
    assert (said, told) == ([], [("a.png", 2), ("b.png", 2), ("c.txt", 0)])


CARDS = [
    pytest.param(b"{", "is no JSON", "mend it", id="half a document"),
    pytest.param(b"[1]", "holds a list", "a JSON object", id="a list"),
    pytest.param({"familly": "yolo"}, "'familly' is no field", "write 'family'", id="a misspelt field"),
    pytest.param({"anchors": 3}, "'anchors' is no field", "take one of family,", id="a field of another world"),
    pytest.param({"family": "yolov8"}, "family 'yolov8' is not known", "write 'yolo'", id="a misspelt family"),
    pytest.param({"family": "rcnn"}, "family 'rcnn' is not known", "take one of roadloop, nanodet", id="no family"),
    pytest.param({"classes": []}, "classes is []", "at least 1 item", id="no classes"),
    pytest.param({"classes": None}, "classes is null", "valid tuple", id="null classes"),
    pytest.param({"classes": ["car", "car"]}, "'car' is there 2 times", "once", id="a class twice"),
    pytest.param({"input_width": 0}, "input_width is 0", "greater than 0", id="no width"),
    pytest.param({"layout": "chw"}, 'layout is "chw"', "'nchw' or 'nhwc'", id="no such layout"),
    pytest.param({"std": [1, 1, 0]}, "std.2 is 0", "greater than 0", id="a deviation of nothing"),
    pytest.param({"tensors": {"output": "x"}}, "tensors: 'output' is nothing that yolo has", "take one of", id="role"),
    pytest.param({"family": "detr", "objectness": True}, "objectness means nothing to", "take it out", id="no use"),
    pytest.param({"dtype": "uint8", "mean": [1, 1, 1]}, "mean has no effect", "take it out", id="a mean of bytes"),
]


@pytest.mark.parametrize(("content", "what", "remedy"), CARDS)
def test_what_is_wrong_with_a_card(content: Any, what: str, remedy: str) -> None:
    card = {"family": "yolo", "classes": ["car"], "input_width": 64, "input_height": 64}
    text = content if isinstance(content, bytes) else json.dumps({**card, **content}).encode()
    said = read_detector_card(text)
    assert not isinstance(said, Card)
    assert what in said[0].what
    assert remedy in said[0].remedy
    assert said[0].grave


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = read_detector_card(b'{"family": "yollo", "classes": ["car"], "input_width": -1, "clases": []}')
    assert not isinstance(said, Card)
    assert [one.what for one in said] == [
        "'clases' is no field of a card",
        "family 'yollo' is not known",
        "input_width is -1",
        "input_height is missing",
    ]


@pytest.mark.parametrize("absent", ["model.onnx", "detector.json"])
def test_a_folder_that_lacks_a_file(absent: str, tmp_path: Path) -> None:
    (folder(tmp_path, YOLO, family="yolo") / absent).unlink()
    (said,) = open_detector_folder(tmp_path)  # type: ignore[misc]
    assert said.what == f"{tmp_path / absent} is not there"


def _identity(*, op: str = "Identity", domain: str = "", opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    value = [helper.make_tensor_value_info(name, FLOAT, ["B", 3, 64, 64]) for name in ("images", "output0")]
    made = model(
        [helper.make_node(op, ["images"], ["output0"], domain=domain)], value[:1], value[1:], opset=opset, ir=ir
    )
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


NETWORKS = [
    pytest.param(b"", {}, "no ONNX file", "anew", id="an empty file"),
    pytest.param(b"garbage" * 9, {}, "no ONNX file", "anew", id="garbage"),
    pytest.param(YOLO.SerializeToString()[:-40], {}, "no ONNX file", "anew", id="half a file"),
    pytest.param(_identity(opset=99), {}, "opset is newer", "with opset 2", id="an opset to come"),
    pytest.param(_identity(ir=99), {}, "file format is newer", "as IR version 1", id="a format to come"),
    pytest.param(_identity(op="Nonsense"), {}, "operator that is not in its opset", "without Nonsense", id="operator"),
    pytest.param(_identity(op="Fast", domain="acme"), {}, "another maker's", "without acme:Fast", id="of acme"),
    pytest.param(
        YOLO,
        {"tensors": {"images": "input"}},
        "has no input 'input'; it has images float32 ['B', 3, 64, 64]",
        '"tensors": {"images": "images"}',
        id="an input of another name",
    ),
    pytest.param(
        YOLO,
        {"tensors": {"predictions": "out"}},
        "has no output 'out'; it has output0 float32 ['B', 3, 6]",
        '"tensors": {"predictions": "output0"}',
        id="an output of another name",
    ),
    pytest.param(
        YOLO,
        {"tensors": {"embedding": "feat"}},
        "has no output 'feat'",
        '{"embedding": ',
        id="an embedding that is not there",
    ),
    pytest.param(
        says({"output0": GOOD}, numbers=HALF),
        {},
        "wants float16, but dtype is float32",
        '"dtype": "float16"',
        id="half",
    ),
    pytest.param(says({"output0": GOOD}, numbers=INT64), {}, "wants tensor(int64)", "export it for", id="numbers"),
    pytest.param(
        says({"output0": GOOD}, numbers=UINT8, shape=("B", 64, 64, 3)),
        {"dtype": "uint8"},
        "another than the card's (layout nchw)",
        'set "layout": "nhwc"',
        id="colours last",
    ),
    pytest.param(
        says({"output0": GOOD}, shape=("B", 3, 96, 128)),
        {},
        "(input_height 64, input_width 64)",
        'set "input_height": 96, "input_width": 128',
        id="another canvas",
    ),
    pytest.param(
        says({"output0": GOOD}, shape=("B", 1, 64, 64)), {}, "wants 1 channels", "colour pictures", id="grey pictures"
    ),
    pytest.param(says({"output0": GOOD}, shape=("B", 3)), {}, "not a batch of pictures", "4 dimensions", id="rank"),
    pytest.param(
        says({"output0": GOOD}, shape=(8, 3, 64, 64)), {}, "exactly 8 pictures", "free batch", id="eight at a time"
    ),
]


@pytest.mark.parametrize(("network", "card", "what", "remedy"), NETWORKS)
def test_what_is_wrong_with_a_network(network: Any, card: Any, what: str, remedy: str, tmp_path: Path) -> None:
    (said,) = findings(tmp_path, network, **card)
    assert what in said.what
    assert remedy in said.remedy
    assert said.grave


def test_a_network_for_one_picture_may_serve(tmp_path: Path) -> None:
    (said,) = findings(tmp_path, says({"output0": GOOD}, shape=(1, 3, 64, 64)))
    assert (said.what.startswith("the network takes one picture at a time"), said.grave) == (True, False)


def test_a_network_that_wants_more_than_pictures(tmp_path: Path) -> None:
    more = says({"output0": GOOD})
    more.graph.input.append(helper.make_tensor_value_info("sizes", INT64, ["B", 2]))
    (said,) = findings(tmp_path, more)
    assert said.what == "the network wants other inputs too: sizes tensor(int64) ['B', 2]"


def test_weights_in_another_file_are_seen_while_they_still_are_there(tmp_path: Path) -> None:
    network = says({"output0": np.tile(GOOD, (100, 1))})
    onnx.save(network, tmp_path / "model.onnx", save_as_external_data=True, location="model.data", size_threshold=0)
    (said,) = findings(tmp_path, (tmp_path / "model.onnx").read_bytes())
    assert said.what == "model.onnx does not open: its weights lie in another file, and only model.onnx is served"


NAN = np.where(GOOD == 0.8, np.nan, GOOD)
ANSWERS = [
    pytest.param(says({"output0": NAN}), {}, "predictions: not a number, or infinite, on 2 of 2", "scale", id="nan"),
    pytest.param(
        with_scores([-4, 2], [-5, -6], [1, -3]), {}, "reach from -6 to 2", '"activation": "sigmoid"', id="raw scores"
    ),
    pytest.param(
        YOLO, {"activation": "sigmoid"}, "0.01 to 0.8 before the sigmoid", '"activation": "none"', id="a sigmoid twice"
    ),
    pytest.param(
        with_scores([0.52, 0.69], [0.5, 0.51], [0.55, 0.5]),
        {},
        "so a sigmoid of probabilities",
        "one sigmoid less",
        id="graph",
    ),
    pytest.param(
        detr([[0.1, 0.8, 0.1], [0.05, 0.05, 0.9]]),
        {"family": "detr"},
        "a softmax is in the graph already",
        '"activation": "none" and "no_object": true',
        id="a softmax twice",
    ),
    pytest.param(
        with_scores([0.3, 0.8], [0.2, 0.9], [0.4, 0.3]), {}, "every score is at least 0.2", "missing", id="all of it"
    ),
    pytest.param(
        with_boxes([24, 24, 40, 40], [6, 26, 14, 34], [46, 46, 54, 54]),
        {},
        "read as cxcywh in pixels, most boxes are not in the picture (the first is 24, 24, 40, 40)",
        '"box_format": "xyxy", "box_unit": "pixel"',
        id="corners, not centres",
    ),
    pytest.param(
        YOLO,
        {"box_format": "xyxy"},
        "read as xyxy in pixels",
        '"box_format": "cxcywh", "box_unit": "pixel"',
        id="centres",
    ),
    pytest.param(
        with_boxes(*(GOOD[:, :4] / 64)), {}, "read as cxcywh in pixels", '"cxcywh", "box_unit": "share"', id="shares"
    ),
    pytest.param(
        YOLO,
        {"box_unit": "share"},
        "read as cxcywh in shares",
        '"cxcywh", "box_unit": "pixel"',
        id="pixels",
    ),
    pytest.param(
        with_boxes(*[[-900, 900, 7, 9]] * 3), {}, "(the first is -900", "export it with decoded boxes", id="raw boxes"
    ),
    pytest.param(with_boxes(*[[0, 0, 0, 0]] * 3), {}, "every box is 0, 0, 0, 0", "name the output", id="empty boxes"),
    pytest.param(
        with_scores(*[[0.01, 0.02]] * 3),
        {},
        "nothing was found on any of 2 pictures; the best score is 0.02",
        "scale",
        id="none",
    ),
    pytest.param(
        YOLO, {"classes": ["car"]}, "4 for a box and 1 classes make 5", "mend classes", id="a class forgotten"
    ),
    pytest.param(
        says({"output0": GOOD, "feat": np.zeros((8, 2, 2))}),
        {"tensors": {"embedding": "feat"}},
        "the embedding is ['batch', 8, 2, 2]",
        "mean over the picture",
        id="a feature map as embedding",
    ),
    pytest.param(
        says({"output0": GOOD, "feat": np.zeros(6_145)}),
        {"tensors": {"embedding": "feat"}},
        "the embedding has 6145 numbers, and 6144 are taken",
        "mean over the picture",
        id="an embedding that no verdict can carry",
    ),
]


@pytest.mark.parametrize(("network", "card", "what", "remedy"), ANSWERS)
def test_what_is_wrong_with_an_answer(network: Any, card: Any, what: str, remedy: str, tmp_path: Path) -> None:
    (said,) = findings(tmp_path, network, **card)
    assert what in said.what
    assert remedy in said.remedy
    assert said.grave


def test_nothing_on_drawn_pictures_may_be_right(tmp_path: Path) -> None:
    (said,) = findings(tmp_path, with_scores(*[[0.01, 0.02]] * 3), list(draw_pictures()), drawn=True)
    assert (said.grave, said.remedy) == (False, "give --pictures with objects it knows")


def test_pictures_that_are_none_are_no_trial(tmp_path: Path) -> None:
    (said,) = findings(tmp_path, YOLO, [("a.png", b"no picture")])
    assert said.what == "no picture could be read"


# Networks whose answer depends on the picture, on chance, or on the batch: the second class's score is all they change


FAINT = np.concatenate([GOOD[:, :4], [[0.1, 0.2], [0.01, 0.02], [0.05, 0.01]]], 1)


def _depends(nodes: Callable[[], Iterator[Any]], constants: Sequence[Any] = ()) -> onnx.ModelProto:
    """Return a network of three faint boxes, to whose second class the tensor `more` [B] is added."""
    made = says({"boxes": FAINT})
    made.graph.output[0].name = "output0"
    made.graph.node.extend(nodes())
    made.graph.initializer.extend(constants)
    made.graph.initializer.append(constant("which", np.array([[[0, 0, 0, 0, 0, 1]]], np.float32)))
    made.graph.initializer.append(constant("shape", np.array([-1, 1, 1], np.int64)))
    made.graph.node.append(helper.make_node("Reshape", ["more", "shape"], ["column"]))
    made.graph.node.append(helper.make_node("Mul", ["column", "which"], ["change"]))
    made.graph.node.append(helper.make_node("Add", ["boxes", "change"], ["output0"]))
    return made


def _by_chance() -> Iterator[Any]:
    yield helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0)
    yield helper.make_node("RandomUniformLike", ["mean"], ["more"], high=0.1, low=0.0)


def _by_batch() -> Iterator[Any]:
    yield helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0)
    yield helper.make_node("ReduceMean", ["images"], ["all"], keepdims=0)
    yield helper.make_node("Sub", ["mean", "all"], ["more"])


def _by_colour() -> Iterator[Any]:
    """Be surer where the first channel is bright."""
    yield helper.make_node("ReduceMean", ["images"], ["colours"], axes=[2, 3], keepdims=0)
    yield helper.make_node("MatMul", ["colours", "first"], ["bright"])
    yield helper.make_node("Min", ["bright", "most"], ["more"])


def _one_only() -> Iterator[Any]:
    yield helper.make_node("Reshape", ["images", "flat"], ["flattened"])
    yield helper.make_node("ReduceMean", ["flattened"], ["more"], axes=[1], keepdims=0)


def test_an_answer_by_chance(tmp_path: Path) -> None:
    (said,) = findings(tmp_path, _depends(_by_chance))
    assert said.what.startswith("it says something else of the same picture")


def test_an_answer_that_depends_on_the_batch(tmp_path: Path) -> None:
    (said,) = findings(tmp_path, _depends(_by_batch))
    assert said.what.startswith("what it says of a picture depends on the others")


def test_a_batch_that_is_free_by_name_alone(tmp_path: Path) -> None:
    flat = constant("flat", np.array([1, 3 * 64 * 64], np.int64))
    said = findings(tmp_path, _depends(_one_only, [flat]))[0]
    assert said.what.startswith("it takes one picture but not two at once (")
    assert said.remedy == "export it with a free batch dimension (dynamic axes) on inputs and outputs"


FIRST = constant("first", np.array([1, 0, 0], np.float32)), constant("most", np.array([0.5], np.float32))


def _doubts(path: Path, colours: str, shown: int, **card: Any) -> list[str]:
    """Show red pictures to a network that is surer of what is bright in its first channel."""
    pictures = [(f"{n}.png", picture(64, 64, (220, n, 0))) for n in range(shown)]
    return [one.what for one in findings(path, _depends(_by_colour, FIRST), pictures, colours=colours, **card)]


def test_colours_the_wrong_way_round_are_suspected(tmp_path: Path) -> None:
    (said,) = _doubts(tmp_path / "bgr", "bgr", 8)
    assert said.startswith('with colours "rgb" instead of bgr the network is surer on 8 of 8 pictures, ')
    assert _doubts(tmp_path / "rgb", "rgb", 8) == []
    assert _doubts(tmp_path / "few", "bgr", 7) == [], "seven pictures cannot tell"


def test_a_scale_that_is_far_off_is_suspected(tmp_path: Path) -> None:
    (said,) = _doubts(tmp_path, "rgb", 2, scale=1e-5)
    assert said.startswith("with scale 1.0 instead of 1e-05 the network is surer on 2 of 2 pictures, 6.")
