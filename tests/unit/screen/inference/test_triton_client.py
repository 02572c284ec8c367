"""What the model server's client makes of an answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from screen.inference.predict import RefusedByModel
from screen.inference.request_batcher import BatchKey
from screen.inference.triton import ANSWERS, boxes_of, build_request, encode_varint, pack_embedding
from screen.vision.detections import Box
from screen.vision.embedding import pack, unpack


def test_an_embedding_that_no_verdict_can_carry_is_refused_with_what_to_do() -> None:
    assert len(unpack(pack_embedding(np.ones(6_144, np.float32)))) == 6_144
    with pytest.raises(RefusedByModel, match="6145 numbers, and 6144 are taken: export its mean over the picture"):
        pack_embedding(np.ones(6_145, np.float32))


def sent(pictures: list[bytes]) -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest.FromString(build_request(BatchKey("detector.acme", 3, priority=2), pictures))


def test_a_request_carries_the_picture_as_it_is_and_asks_for_what_is_read() -> None:
    asked = sent([b"a picture"])
    assert (asked.model_name, asked.model_version) == ("detector.acme", "3")
    assert list(asked.raw_input_contents) == [b"a picture"]
    assert [(one.name, one.datatype, list(one.shape)) for one in asked.inputs] == [("IMAGE", "UINT8", [1, 9])]
    assert [one.name for one in asked.outputs] == list(ANSWERS)
    assert asked.parameters["priority"].uint64_param == 2


def test_pictures_of_one_request_are_as_long_as_the_longest() -> None:
    asked = sent([b"short", b"a longer one"])
    assert list(asked.raw_input_contents) == [b"short\0\0\0\0\0\0\0a longer one"]
    assert list(asked.inputs[0].shape) == [2, 12]


@given(st.lists(st.integers(1, 300_000).map(lambda size: b"p" * size), min_size=1, max_size=4))
def test_a_request_is_the_one_that_protobuf_would_have_sent(pictures: list[bytes]) -> None:
    asked = sent(pictures)
    assert build_request(BatchKey("detector.acme", 3, priority=2), pictures) == asked.SerializeToString()


@given(st.integers(0, 2**40))
def test_a_length_is_written_as_protobuf_writes_a_priority(length: int) -> None:
    message = service_pb2.InferParameter(uint64_param=length)
    assert message.SerializeToString()[1:] == encode_varint(length)


def test_rows_for_another_pictures_sake_and_unknown_classes_are_no_boxes() -> None:
    rows = np.array([[0, 0, 1, 1, 0.5, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0.5, 7], [-1] * 6], np.float32)
    assert boxes_of(rows, ("car",)) == (Box(0, 0, 1, 1, 0.5, "car"), Box(0, 0, 1, 1, 0, "car"))


@given(st.lists(st.floats(width=32), max_size=8))
def test_whatever_a_network_says_can_be_kept_and_compared(said: list[float]) -> None:
    kept = unpack(pack(np.array(said, np.float32)))
    assert np.isfinite(kept).all()
    usual = np.nan_to_num(np.array(said, np.float64), nan=0.0, posinf=65_504, neginf=-65_504)
    np.testing.assert_array_equal(kept, np.clip(usual, -65_504, 65_504).astype(np.float16).astype(np.float32))
