"""Detectors of every family, by their cards: exact boxes of a picture whose canvas has bars above and below."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from screen.serving.answer import WrongAnswer
from screen.serving.canvas import LAYOUT_LENGTH, describe_layout, prepare
from screen.serving.card import UnknownFamily, read_card
from screen.serving.detector import Detector, open_session
from tests.unit.screen.networks import HALF, UINT8, Floats, folder, helper, model, opened, picture, says

# On a canvas of 64 x 64 a picture of 128 x 64 is 64 x 32 pixels, from row 16 on. This box is at 16..48, 20..36 there.
CENTRE, CORNERS = (32, 28, 32, 16), (16, 20, 48, 36)
IN_PICTURE = (0.25, 0.125, 0.75, 0.625)
STRETCHED = (0.25, 20 / 64, 0.75, 36 / 64)  # the same box where the picture fills the canvas
NOISE = (10, 30, 8, 8)


def logit(chance: float) -> float:
    return float(np.log(chance / (1 - chance)))


def shares(*box: float) -> list[float]:
    return [edge / 64 for edge in box]


YOLO8 = np.array([[*CENTRE, 0.1, 0.8], [*NOISE, 0.01, 0.02]]).T
YOLO5 = np.array([[*CENTRE, 0.9, 0.2, 0.8], [*NOISE, 0.01, 0.9, 0.9]])
CASES = [
    pytest.param(says({"output0": YOLO8}), {"family": "yolo"}, IN_PICTURE, (0.1, 0.8), id="yolo: [4 + C, N]"),
    pytest.param(says({"output0": YOLO8.T}), {"family": "yolo"}, IN_PICTURE, (0.1, 0.8), id="yolo: [N, 4 + C]"),
    pytest.param(
        says({"output0": YOLO5}),
        {"family": "yolo", "objectness": True},
        IN_PICTURE,
        (0.18, 0.72),
        id="yolo: [N, 5 + C] with objectness",
    ),
    pytest.param(
        says({"heads": np.array([[*shares(*CORNERS), logit(0.1), logit(0.8)]])}),
        {
            "family": "yolo",
            "activation": "sigmoid",
            "box_format": "xyxy",
            "box_unit": "share",
            "tensors": {"predictions": "heads"},
        },
        IN_PICTURE,
        (0.1, 0.8),
        id="yolo: raw scores, corners in shares of a letterboxed canvas",
    ),
    pytest.param(
        says(
            {"logits": np.log([[0.1, 0.8, 0.1], [0.02, 0.03, 0.95]]), "pred_boxes": [shares(*CENTRE), shares(*NOISE)]},
            images="pixel_values",
        ),
        {"family": "detr"},
        STRETCHED,
        (0.1, 0.8),
        id="detr: softmax with a column for no object",
    ),
    pytest.param(
        says(
            {"logits": [[logit(0.1), logit(0.8)], [-9, -9]], "pred_boxes": [shares(*CENTRE), shares(*NOISE)]},
            images="pixel_values",
        ),
        {"family": "detr", "activation": "sigmoid"},
        STRETCHED,
        (0.1, 0.8),
        id="detr: sigmoid, no column more",
    ),
    pytest.param(
        says({"boxes": [CORNERS, NOISE], "scores": [[0.01, 0.8], [0, 0]], "embedding": np.arange(5)}),
        {"family": "nanodet"},
        IN_PICTURE,
        (0.01, 0.8),
        id="nanodet",
    ),
    pytest.param(
        says(
            {"detections": [[*shares(*CORNERS), 0.8, 1]], "probabilities": [[0.1, 0.8]], "embedding": np.arange(5)},
            shape=("B", 64, 64, 3),
            numbers=UINT8,
        ),
        {"family": "roadloop"},
        STRETCHED,
        (0.1, 0.8),
        id="roadloop",
    ),
]


@pytest.mark.parametrize(("network", "card", "box", "chances"), CASES)
def test_a_box_is_where_it_was_seen(network: Any, card: Any, box: Any, chances: Any, tmp_path: Path) -> None:
    detector = opened(tmp_path, network, **card)
    prepared = detector.prepare(picture(128, 64))
    for found in detector.detect([prepared, prepared]):
        np.testing.assert_allclose(found.detections, [[*box, chances[1], 1]], atol=1e-6)
        np.testing.assert_allclose(found.probabilities, [chances], atol=1e-6)
        assert found.detections.dtype == np.float32


def test_one_query_is_one_object_and_a_cell_may_be_two(tmp_path: Path) -> None:
    both = says({"boxes": [CORNERS], "scores": [[0.6, 0.7]], "embedding": [0.0]})
    cells = opened(tmp_path / "cells", both, family="nanodet")
    logits = [[logit(0.6), logit(0.7)]]
    query = says({"logits": logits, "pred_boxes": [shares(*CENTRE)]}, images="pixel_values")
    queries = opened(tmp_path / "queries", query, family="detr", activation="sigmoid")
    classes = [
        found.detections[:, 5].tolist()
        for one in (cells, queries)
        for found in one.detect([one.prepare(picture(64, 64))])
    ]
    assert classes == [[1, 0], [1]]


def test_queries_may_cover_each_other_and_predictions_may_not(tmp_path: Path) -> None:
    crowd = np.array([[*CENTRE, 0.1, 0.8], [33, 28, 32, 16, 0.1, 0.7]])
    found = []
    for name, card in (("all", {"suppress_from": 1.0}), ("best", {})):
        detector = opened(tmp_path / name, says({"output0": crowd.T}), family="yolo", **card)
        found += detector.detect([detector.prepare(picture(64, 64))])
    assert [len(one.detections) for one in found] == [2, 1]


def test_what_is_no_box_of_a_class_is_left_out(tmp_path: Path) -> None:
    rows = [[*shares(*CORNERS), 0.8, 1], [np.nan, 0, 1, 1, 0.9, 0], [0, 0, 1, 1, 0.9, 2], [0, 0, 1, 1, np.nan, 0]]
    network = says(
        {"detections": rows, "probabilities": [[0.1, 0.8]] * 4, "embedding": [0.0]},
        shape=("B", 64, 64, 3),
        numbers=UINT8,
    )
    detector = opened(tmp_path, network, family="roadloop")
    (found,) = detector.detect([detector.prepare(picture(64, 64))])
    assert (found.detections[:, 4:].tolist(), len(found.probabilities)) == ([[pytest.approx(0.8), 1]], 1)


def test_a_network_for_one_picture_is_asked_one_by_one(tmp_path: Path) -> None:
    alone = says({"output0": YOLO8}, shape=(1, 3, 64, 64))
    detector = opened(tmp_path, alone, family="yolo")
    assert len(detector.detect([detector.prepare(picture(64, 64))] * 3)) == 3


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        pytest.param({"family": "roadloop"}, [200, 120, 40], id="roadloop: the pixel"),
        pytest.param({"family": "nanodet"}, [200, 120, 40], id="nanodet: the pixel as a float"),
        pytest.param({"family": "yolo"}, [200 / 255, 120 / 255, 40 / 255], id="yolo: 0 to 1"),
        pytest.param({"family": "yolo", "colours": "bgr"}, [40 / 255, 120 / 255, 200 / 255], id="blue first"),
        pytest.param(
            {"family": "detr"},
            [(200 / 255 - 0.485) / 0.229, (120 / 255 - 0.456) / 0.224, (40 / 255 - 0.406) / 0.225],
            id="detr: mean and deviation of its training pictures",
        ),
        pytest.param(
            {"family": "nanodet", "colours": "bgr", "mean": [103.5, 116.3, 123.7], "std": [57.4, 57.1, 58.4]},
            [(40 - 103.5) / 57.4, (120 - 116.3) / 57.1, (200 - 123.7) / 58.4],
            id="mean and deviation are in the network's order",
        ),
    ],
)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_network_is_given_what_its_card_says(card: dict[str, Any], expected: list[float], layout: str) -> None:
    said = {"classes": ["car"], "input_width": 8, "input_height": 6, "layout": layout, **card}
    pixels = prepare(np.full((6, 8, 3), (200, 120, 40), np.uint8), read_card(said)).pixels
    assert pixels.shape == ((3, 6, 8) if layout == "nchw" else (6, 8, 3))
    np.testing.assert_allclose(pixels[:, 2, 2] if layout == "nchw" else pixels[2, 2], expected, rtol=1e-5)
    assert pixels.dtype == (np.uint8 if card["family"] == "roadloop" else np.float32)


@pytest.mark.parametrize(("pad", "expected"), [(None, 114), (0, 0)], ids=["as yolo has it", "black"])
def test_bars_have_the_cards_grey(pad: int | None, expected: int) -> None:
    card = read_card(
        {"family": "yolo", "classes": ["car"], "input_width": 8, "input_height": 8, "pad": pad, "scale": 1}
    )
    pixels = prepare(np.full((4, 8, 3), 200, np.uint8), card).pixels
    assert pixels[0, :, 0].tolist() == [expected, expected, 200, 200, 200, 200, expected, expected]


def test_half_precision_goes_in_and_single_comes_out(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["images"], ["output0"], axes=[1, 3], keepdims=0)]  # the 64 rows, as a box
    inputs = [helper.make_tensor_value_info("images", HALF, ["B", 3, 64, 64])]
    reduced = model(nodes, inputs, [helper.make_tensor_value_info("output0", HALF, ["B", 64])])
    detector = opened_unread(tmp_path, reduced)
    (answer,) = detector.run_network([detector.prepare(picture(64, 64, (255, 255, 255)))])
    assert answer["predictions"].dtype == np.float32
    assert answer["predictions"].tolist() == [1.0] * 64


def opened_unread(path: Path, network: Any) -> Detector:
    session = open_session(folder(path, network, family="yolo") / "model.onnx", ["CPUExecutionProvider"])
    said = {"family": "yolo", "classes": ["car"], "input_width": 64, "input_height": 64, "dtype": "float16"}
    return Detector(read_card(said), session)


@pytest.mark.parametrize(
    ("network", "card", "said"),
    [
        pytest.param(
            says({"output0": np.zeros((7, 9))}),
            {"family": "yolo"},
            r"\[7, 9\] per picture.*make 6",
            id="yolo: a class more",
        ),
        pytest.param(
            says({"output0": np.zeros((7, 9))}),
            {"family": "yolo", "objectness": True, "classes": ["car"]},
            "1 for objectness and 1 classes make 6",
            id="yolo: objectness that is none",
        ),
        pytest.param(
            says({"logits": np.zeros((3, 2)), "pred_boxes": np.zeros((3, 4))}, images="pixel_values"),
            {"family": "detr"},
            r"2 classes and one for no object make \[N, 3\]",
            id="detr: no column for no object",
        ),
        pytest.param(
            says({"boxes": np.zeros((3, 4)), "scores": np.zeros((4, 2)), "embedding": [0.0]}),
            {"family": "nanodet"},
            r"the boxes are \[3, 4\] per picture, not \[4, 4\]",
            id="nanodet: a box less",
        ),
        pytest.param(
            says({"detections": np.zeros((3, 5)), "probabilities": np.zeros((3, 2)), "embedding": [0.0]}),
            {"family": "roadloop", "layout": "nchw", "dtype": "float32"},
            r"not \[N, 6\]",
            id="roadloop: a column less",
        ),
    ],
)
def test_a_version_with_another_shape_does_not_load(network: Any, card: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(WrongAnswer, match=said):
        opened(tmp_path, network, **card)


def test_a_family_of_another_day_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(UnknownFamily, match="'rcnn' is none of roadloop, nanodet, yolo, detr"):
        opened(tmp_path, says({}), family="rcnn")


def test_a_card_of_an_old_release_is_read_as_before() -> None:
    old = {"family": "nanodet", "classes": ["car"], "input_width": 416, "input_height": 416, "score_floor": 0.05}
    card = read_card({**old, "architecture": "nanodet-g", "colours": None, "tensors": None})
    assert card == read_card(old)
    assert (card.layout, card.dtype, card.fit, card.pad, card.scale) == ("nchw", "float32", "letterbox", 0, 1.0)
    assert card.outputs == ("boxes", "scores", "embedding")


def _street(shift: int) -> Floats:
    image = np.full((90, 160, 3), (90, 140, 200), np.uint8)
    image[45:] = 80
    cv2.rectangle(image, (20 + shift, 40), (60 + shift, 70), (200, 30, 30), -1)
    return describe_layout(image)


def test_a_layout_tells_like_pictures_from_others(tmp_path: Path) -> None:
    detector = opened(tmp_path, says({"output0": YOLO8}), family="yolo")
    (found,) = detector.detect([detector.prepare(picture(128, 64))])
    assert found.embedding.shape == (LAYOUT_LENGTH,)
    assert found.embedding[:48].reshape(3, 16).mean(1) == pytest.approx([200 / 255, 120 / 255, 40 / 255])
    assert found.embedding[48:].max() == 0, "one colour has no edge"
    near, far = (float(np.linalg.norm(_street(0) - _street(shift))) for shift in (3, 60))
    assert 0 < near < far / 3


def test_a_layout_tells_the_direction_of_edges() -> None:
    upright, lying = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)
    upright[:, 12:] = 255
    lying[12:] = 255
    sums = [describe_layout(image)[48:].reshape(4, 16).sum(1).nonzero()[0].tolist() for image in (upright, lying)]
    assert sums == [[0], [2]]
