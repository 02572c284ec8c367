"""What an annotator may hand in, and what is said about the rest."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_router.completion import Label, require_repeat
from label_router.submission import Submission, check_classes, read_lease, read_submission
from label_router.tables.annotator_table import Annotator
from roadloop_runtime.service.problems import Problem
from roadloop_schemas.fields import LabelBox
from tests.builders import make_label_box

BOX: dict[str, Any] = {"class_name": "car", "x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 0.4}
CAR = make_label_box(**BOX)


def body(*boxes: object, **fields: object) -> bytes:
    return json.dumps({"lease_id": "l-1", "boxes": boxes, "lead_time_s": 2.5} | fields).encode()


def with_box(**changes: object) -> bytes:
    return body(BOX, BOX | changes)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(body(BOX), (CAR,), id="a box"),
        pytest.param(body(), (), id="nothing to see is an answer"),
        pytest.param(body(BOX | {"color": "red"}), (CAR,), id="an unknown field is ignored"),
        pytest.param(
            body(BOX | {"x1": 0, "y1": -0.0, "x2": 1, "y2": 1.0}),
            (make_label_box(x1=0, y1=0, x2=1, y2=1),),
            id="0 and 1 are inside",
        ),
        pytest.param(body(*[BOX] * 500), (CAR,) * 500, id="500 boxes"),
    ],
)
def test_what_is_read(sent: bytes, expected: tuple[LabelBox, ...]) -> None:
    assert read_submission(sent) == Submission("l-1", expected, 2.5)


@pytest.mark.parametrize(
    ("sent", "box", "field"),
    [
        pytest.param(b"", None, "(body)", id="empty"),
        pytest.param(b"\xff\xfe\xfa", None, "(body)", id="no text"),
        pytest.param(b"[" * 60_000, None, "(body)", id="nested too deep"),
        pytest.param(b"[]", None, "(body)", id="no object"),
        pytest.param(b'{"x": 1' + b"0" * 5000 + b"}", None, "(body)", id="a number of 5000 digits"),
        pytest.param(body(lease_id=None), None, "lease_id", id="no lease"),
        pytest.param(body(lease_id="a\x00"), None, "lease_id", id="no lease id"),
        pytest.param(body(boxes=None), None, "boxes", id="no boxes"),
        pytest.param(body(*[BOX] * 501), None, "boxes", id="501 boxes"),
        pytest.param(body(BOX, 7), 2, "(box)", id="a box that is a number"),
        pytest.param(with_box(class_name=""), 2, "class_name", id="no class"),
        pytest.param(with_box(class_name="car\n"), 2, "class_name", id="a class with a line end"),
        pytest.param(with_box(class_name="\ud800"), 2, "class_name", id="half a character"),
        pytest.param(with_box(x1=-0.1), 2, "x1", id="left of the picture"),
        pytest.param(with_box(y2=1.0000001), 2, "y2", id="below the picture"),
        pytest.param(with_box(x2=float("nan")), 2, "x2", id="not a number"),
        pytest.param(with_box(x2=float("inf")), 2, "x2", id="infinite"),
        pytest.param(with_box(x2=10**400), 2, "x2", id="larger than any float"),
        pytest.param(with_box(x2=True), 2, "x2", id="true is no number"),
        pytest.param(with_box(x2="0.5"), 2, "x2", id="text is no number"),
        pytest.param(with_box(x2=0.1), 2, "x2", id="no width"),
        pytest.param(with_box(y1=0.5), 2, "y2", id="upside down"),
        pytest.param(body(lead_time_s=-1), None, "lead_time_s", id="handed in before it was shown"),
        pytest.param(body(lead_time_s=float("nan")), None, "lead_time_s", id="no lead time"),
        pytest.param(body(lead_time_s=86_401), None, "lead_time_s", id="more than a day"),
    ],
)
def test_what_is_refused_is_named(sent: bytes, box: int | None, field: str) -> None:
    with pytest.raises(Problem) as caught:
        read_submission(sent)
    refusal = caught.value
    assert (refusal.status, refusal.kind) == (422, "invalid-submission")
    assert (refusal.more["box"], refusal.more["field"]) == (box, field)
    assert refusal.more["rule"]
    assert refusal.more["remedy"]
    assert field in refusal.detail


def test_a_class_the_queue_does_not_ask_for_is_named() -> None:
    check_classes((CAR,), ())
    check_classes((CAR,), ("bus", "car"))
    with pytest.raises(Problem) as caught:
        check_classes((CAR,), ("bus", "truck"))
    assert caught.value.detail == ("box 1, class_name: 'car' is not a class of this queue; use one of: bus, truck.")


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.floats(0, 1)
    | st.sampled_from(["car", 10**400, -(10**400), "\ud800"])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
BOXES = st.fixed_dictionaries({}, optional=dict.fromkeys(BOX, LEAVES)) | VALUES
BODIES = st.fixed_dictionaries(
    {}, optional={"lease_id": LEAVES | st.just("l-1"), "boxes": st.lists(BOXES) | VALUES, "lead_time_s": LEAVES}
)


@given(st.binary() | (VALUES | BODIES).map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused(sent: bytes) -> None:
    for read in (read_submission, read_lease):
        try:
            read(sent)
        except Problem as refusal:
            said = json.dumps(refusal.more, ensure_ascii=False).encode() + refusal.detail.encode()
            assert len(said) < 1_000


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=5))
def test_whatever_is_read_is_a_label(edges: list[tuple[float, float, float, float]]) -> None:
    boxes = [{"class_name": "car", "x1": a, "y1": b, "x2": c, "y2": d} for a, b, c, d in edges]
    valid = all(a < c and b < d for a, b, c, d in edges)
    try:
        read = read_submission(body(*boxes))
    except Problem:
        assert not valid
    else:
        assert valid
        assert [(box.x1, box.y1, box.x2, box.y2) for box in read.boxes] == edges


NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
ANN, BEN = Annotator("a-1", "acme"), Annotator("a-2", "acme")
LABEL = Label("t-1", 1, "a-1", "l-1", (CAR,), 2.5, NOW - timedelta(minutes=1))


def test_the_same_again_is_a_repeat_whatever_its_lead_time() -> None:
    require_repeat(LABEL, ANN, Submission("l-1", (CAR,), 9))


@pytest.mark.parametrize(
    ("annotator", "submission"),
    [
        pytest.param(ANN, Submission("l-2", (CAR,), 2.5), id="another lease"),
        pytest.param(BEN, Submission("l-1", (CAR,), 2.5), id="another annotator"),
        pytest.param(ANN, Submission("l-1", (), 2.5), id="other boxes"),
    ],
)
def test_anything_else_does_not_touch_the_label(annotator: Annotator, submission: Submission) -> None:
    with pytest.raises(Problem) as caught:
        require_repeat(LABEL, annotator, submission)
    assert (caught.value.status, caught.value.kind) == (409, "already-labelled")
