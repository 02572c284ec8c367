"""Whatever stands in a record, reading it gives a body or a ValidationError: nothing else ever stops a loop."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from roadloop_schemas.fields import Box, EventBody
from roadloop_schemas.models import DemandChanged
from roadloop_schemas.topics import EVENTS
from tests.contract.published import EXAMPLES

BODIES = st.sampled_from(sorted(EVENTS)).map(EVENTS.__getitem__)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes().map(str)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def places(part: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within an example."""
    yield at
    inner = part.items() if isinstance(part, Mapping) else enumerate(part) if isinstance(part, list) else ()
    for name, value in inner:
        yield from places(value, (*at, name))


PLACES = [(event, place) for event, example in EXAMPLES.items() for place in places(example)]


def replaced(part: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    changed = part.copy()
    changed[place[0]] = replaced(part[place[0]], place[1:], value)
    return changed


def read(body: type[EventBody], value: bytes) -> None:
    """Read a value; what is taken must also come back the same, or a replay would decide otherwise."""
    try:
        taken = body.model_validate_json(value)
    except ValidationError:
        return
    assert body.model_validate_json(taken.model_dump_json()) == taken


@given(BODIES, st.binary())
def test_bytes(body: type[EventBody], value: bytes) -> None:
    read(body, value)


@given(BODIES, JSON)
def test_json_of_any_shape(body: type[EventBody], value: object) -> None:
    read(body, json.dumps(value).encode())


@given(st.sampled_from(PLACES), JSON)
def test_an_example_with_one_value_replaced(place: tuple[str, tuple[Any, ...]], value: object) -> None:
    event, path = place
    read(EVENTS[event], json.dumps(replaced(EXAMPLES[event], path, value)).encode())


@pytest.mark.parametrize("body", EVENTS.values())
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe\xfa", id="no text"),
        pytest.param(b"[" * 60_000, id="nested too deep"),
        pytest.param(b'{"version": 1' + b"0" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(b'{"slice": "\\ud800"}', id="half a surrogate pair"),
        pytest.param(b"null", id="null"),
    ],
)
def test_hostile_bytes_are_refused(body: type[EventBody], value: bytes) -> None:
    with pytest.raises(ValidationError):
        body.model_validate_json(value)


@pytest.mark.parametrize(
    "changed_at",
    [
        pytest.param("0001-01-01T00:00:00+05:00", id="before year 1 in UTC"),
        pytest.param("9999-12-31T23:59:59-05:00", id="after year 9999 in UTC"),
        pytest.param("2026-03-14T06:41:07", id="without an offset"),
        pytest.param(1e300, id="a number far out"),
    ],
)
def test_times_that_are_none_are_refused(changed_at: object) -> None:
    with pytest.raises(ValidationError) as refused:
        DemandChanged.model_validate(EXAMPLES["DemandChanged"] | {"changed_at": changed_at})
    assert [error["loc"] for error in refused.value.errors()] == [("changed_at",)]


@pytest.mark.parametrize("corner", ["x1", "y1", "x2", "y2"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.01, 1.01])
def test_a_box_outside_the_picture_is_refused(corner: str, value: float) -> None:
    box = {"x1": 0.2, "y1": 0.2, "x2": 0.4, "y2": 0.4} | {corner: value}
    with pytest.raises(ValidationError) as refused:
        Box.model_validate_json(json.dumps(box))
    assert [error["loc"] for error in refused.value.errors()] == [(corner,)]


@pytest.mark.parametrize(
    ("x1", "y1", "x2", "y2"),
    [
        pytest.param(0.2, 0.2, 0.2, 0.4, id="no width"),
        pytest.param(0.2, 0.2, 0.4, 0.2, id="no height"),
        pytest.param(0.4, 0.2, 0.2, 0.4, id="left and right swapped"),
        pytest.param(0.2, 0.4, 0.4, 0.2, id="top and bottom swapped"),
    ],
)
def test_a_box_without_area_is_refused(x1: float, y1: float, x2: float, y2: float) -> None:
    with pytest.raises(ValidationError, match="must be greater than"):
        Box(x1=x1, y1=y1, x2=x2, y2=y2)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        pytest.param("FrameScreened", "score_parts", id="score parts"),
        pytest.param("ScreenPolicy", "weights", id="weights"),
        pytest.param("TrainingChanged", "metrics", id="metrics"),
        pytest.param("ModelReleased", "calibration", id="calibration"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_in_maps_are_finite(event: str, field: str, value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        EVENTS[event].model_validate_json(json.dumps(EXAMPLES[event] | {field: {"it": value}}))
