"""Any bytes are a card or findings with a remedy, and any bytes are a picture or none: never another error."""

import json
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadloop_schemas.models import DetectorCard
from screen.detector_check.card_file import read_detector_card
from screen.serving.canvas import BadPicture, decode, prepare
from screen.serving.card import FAMILIES, Card, read_card

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)
NEARLY_RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "family": st.sampled_from([*FAMILIES, "rcnn"]),
    "classes": st.lists(st.sampled_from(["car", "bus", "e-bike", ""]), max_size=3),
    "input_width": st.integers(0, 9000),
    "input_height": st.integers(0, 9000),
    "colours": st.sampled_from(["rgb", "bgr", "grey"]),
    "dtype": st.sampled_from(["uint8", "float32", "double"]),
    "activation": st.sampled_from(["none", "sigmoid", "relu"]),
    "tensors": st.dictionaries(st.sampled_from(["images", "scores", "embedding", "x"]), st.text(max_size=3)),
}
FIELDS = st.fixed_dictionaries(
    {}, optional={name: NEARLY_RIGHT.get(name, ANY_JSON) | ANY_JSON for name in DetectorCard.model_fields}
)


def _is_said(text: bytes) -> None:
    read = read_detector_card(text)
    if isinstance(read, Card):
        assert read == read_card(json.loads(text))
        assert read.classes
    else:
        assert read
        assert all(one.what and one.remedy and one.grave for one in read)


@settings(deadline=None)
@given(st.binary(max_size=99))
def test_any_bytes(text: bytes) -> None:
    _is_said(text)


@settings(deadline=None)
@given(ANY_JSON | FIELDS)
def test_any_json(content: Any) -> None:
    _is_said(json.dumps(content).encode())


@settings(deadline=None)
@given(st.fixed_dictionaries(NEARLY_RIGHT))
def test_nearly_a_card(content: Any) -> None:
    _is_said(json.dumps(content).encode())


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 100_000, b'{"scale": 1e999}', b'{"pad": 1' + b"0" * 5000 + b"}"])
def test_json_that_is_hard_to_swallow(text: bytes) -> None:
    _is_said(text)


PICTURE = bytes(cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8))[1])
CARD = read_card({"family": "yolo", "classes": ["car"], "input_width": 32, "input_height": 32})


@settings(deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"\xff\xd8" + tail))
def test_bytes_that_are_hardly_a_picture(content: bytes) -> None:
    _is_shown(content)


@settings(deadline=None)
@given(place=st.integers(0, len(PICTURE) - 1), byte=st.integers(0, 255), end=st.integers(0, len(PICTURE)))
def test_a_picture_with_a_fault(place: int, byte: int, end: int) -> None:
    _is_shown((PICTURE[:place] + bytes([byte]) + PICTURE[place + 1 :])[:end])


def _is_shown(content: bytes) -> None:
    with suppress(BadPicture):
        assert prepare(decode(content, CARD.size), CARD).pixels.shape == (3, 32, 32)


@settings(deadline=None)
@given(*[st.integers(1, 300)] * 2, *[st.integers(1, 64)] * 2, st.sampled_from(list(FAMILIES)))
def test_any_shape_fits_any_canvas(width: int, height: int, wide: int, high: int, family: str) -> None:
    card = read_card({"family": family, "classes": ["car"], "input_width": wide, "input_height": high})
    prepared = prepare(np.zeros((height, width, 3), np.uint8), card)
    assert sorted(prepared.pixels.shape) == sorted((high, wide, 3))
    assert prepared.fit.picture == (width, height)
