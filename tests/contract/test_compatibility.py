"""Which edits of an event break a reader or an older record, and which do not."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from roadloop_schemas.compatibility import Break, Rule, find_breaking_changes
from roadloop_schemas.fields import Box, Moment, Unit

Light = StrEnum("Light", ["DAY", "NIGHT"])
MoreLight = StrEnum("MoreLight", ["DAY", "NIGHT", "DUSK"])
LessLight = StrEnum("LessLight", ["DAY"])


def schema(**fields: Any) -> dict[str, Any]:
    """Return the schema of an event with these fields: a type, or a type and its default."""
    filled: dict[str, Any] = {
        name: field if isinstance(field, tuple) else (field, ...) for name, field in fields.items()
    }
    event: type[BaseModel] = create_model("Event", **filled)
    return event.model_json_schema()


def limited(kind: type, **limits: Any) -> dict[str, Any]:
    return schema(it=Annotated[kind, Field(**limits)])


def nested(**fields: Any) -> dict[str, Any]:
    return schema(frames=tuple[create_model("Frame", **fields), ...])  # type: ignore[misc]


class Open(BaseModel):
    it: int


class Shut(BaseModel):
    model_config = ConfigDict(extra="forbid")
    it: int


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(schema(it=int), schema(it=int), id="nothing"),
        pytest.param(schema(it=int), schema(it=int, added=(str, "")), id="an optional field"),
        pytest.param(schema(it=int), schema(it=int, added=(Box | None, None)), id="an optional field that may be null"),
        pytest.param(nested(it=(int, 0)), nested(it=(int, 0), added=(int, 0)), id="an optional field further down"),
        pytest.param(schema(it=int), schema(it=(int, 0)), id="a required field becomes optional"),
        pytest.param(schema(it=int), schema(it=int | None), id="null is allowed too"),
        pytest.param(limited(float, ge=0, le=1), limited(float, ge=-1, le=2), id="a wider range"),
        pytest.param(limited(float, gt=0), limited(float, ge=0), id="a bound becomes part of its range"),
        pytest.param(limited(int, le=9), limited(int), id="a maximum goes"),
        pytest.param(limited(str, max_length=3), limited(str, max_length=4), id="a longer text"),
        pytest.param(limited(str, pattern="^a$"), limited(str), id="a pattern goes"),
        pytest.param(
            limited(tuple[int, ...], min_length=1, max_length=64),
            limited(tuple[int, ...], max_length=128),
            id="a longer list",
        ),
        pytest.param(schema(it=Light), schema(it=MoreLight), id="a value more"),
        pytest.param(schema(it=Literal["a"]), schema(it=Literal["a", "b"]), id="a constant gets company"),
        pytest.param(
            schema(it=Annotated[int, Field(title="A", description="old")]),
            schema(it=Annotated[int, Field(title="B", description="new", examples=[1])]),
            id="other words",
        ),
        pytest.param(Shut.model_json_schema(), Open.model_json_schema(), id="unknown fields are allowed now"),
    ],
)
def test_what_breaks_nothing(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert find_breaking_changes(old, new) == ()


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        pytest.param(schema(it=int, gone=(int, 0)), schema(it=int), [("gone", Rule.REMOVED)], id="a field goes"),
        pytest.param(
            schema(old=int),
            schema(new=int),
            [("old", Rule.REMOVED), ("new", Rule.REQUIRED)],
            id="a field is renamed",
        ),
        pytest.param(schema(it=int), schema(it=int, more=int), [("more", Rule.REQUIRED)], id="a required field more"),
        pytest.param(schema(it=(int, 0)), schema(it=int), [("it", Rule.REQUIRED)], id="optional becomes required"),
        pytest.param(schema(it=(int, 0)), schema(it=(int, 1)), [("it", Rule.DEFAULT_CHANGED)], id="another default"),
        pytest.param(
            schema(it=(bool, False)), schema(it=(bool, True)), [("it", Rule.DEFAULT_CHANGED)], id="off becomes on"
        ),
        pytest.param(schema(it=int), schema(it=str), [("it", Rule.RETYPED)], id="a number becomes a text"),
        pytest.param(schema(it=int), schema(it=float), [("it", Rule.RETYPED)], id="an integer becomes a number"),
        pytest.param(schema(it=int | None), schema(it=int), [("it", Rule.RETYPED)], id="null is refused"),
        pytest.param(schema(it=Moment), schema(it=str), [("it", Rule.RETYPED)], id="a time becomes a text"),
        pytest.param(schema(it=str), schema(it=Moment), [("it", Rule.RETYPED)], id="a text becomes a time"),
        pytest.param(
            schema(it=tuple[int, ...]), schema(it=tuple[str, ...]), [("it[]", Rule.RETYPED)], id="a list of others"
        ),
        pytest.param(
            schema(it=tuple[Unit, Unit]), schema(it=tuple[Unit, str]), [("it[1]", Rule.RETYPED)], id="half of a pair"
        ),
        pytest.param(
            schema(it=tuple[int, int]),
            schema(it=tuple[int, int, int]),
            [("it", Rule.TIGHTENED), ("it", Rule.RETYPED)],
            id="a pair becomes three",
        ),
        pytest.param(
            schema(it=dict[str, float]), schema(it=dict[str, str]), [("it.*", Rule.RETYPED)], id="a map to others"
        ),
        pytest.param(schema(it=Light), schema(it=LessLight), [("it", Rule.VALUE_REMOVED)], id="a value goes"),
        pytest.param(schema(it=str), schema(it=Light), [("it", Rule.VALUE_REMOVED)], id="a text becomes a choice"),
        pytest.param(limited(float, le=2), limited(float, le=1), [("it", Rule.TIGHTENED)], id="a lower maximum"),
        pytest.param(limited(float, ge=0), limited(float, gt=0), [("it", Rule.TIGHTENED)], id="a bound is left out"),
        pytest.param(limited(int), limited(int, ge=0), [("it", Rule.TIGHTENED)], id="a minimum more"),
        pytest.param(
            limited(str, max_length=4), limited(str, max_length=3), [("it", Rule.TIGHTENED)], id="a shorter text"
        ),
        pytest.param(
            limited(tuple[int, ...]), limited(tuple[int, ...], min_length=1), [("it", Rule.TIGHTENED)], id="not empty"
        ),
        pytest.param(limited(str), limited(str, pattern="^a$"), [("it", Rule.PATTERN_CHANGED)], id="a pattern more"),
        pytest.param(
            limited(str, pattern="^a$"), limited(str, pattern="^b$"), [("it", Rule.PATTERN_CHANGED)], id="other pattern"
        ),
        pytest.param(
            limited(int), limited(int, multiple_of=2), [("it", Rule.UNJUDGED)], id="a keyword nobody thought of"
        ),
        pytest.param(
            Open.model_json_schema(), Shut.model_json_schema(), [("", Rule.CLOSED)], id="unknown fields are refused"
        ),
        pytest.param(
            nested(it=(Box | None, None)),
            nested(it=(Unit | None, None)),
            [("frames[].it", Rule.RETYPED)],
            id="further down, behind a null",
        ),
        pytest.param(
            schema(a=Open, b=tuple[Open, ...]),
            schema(a=Open, b=tuple[Shut, ...]),
            [("b[]", Rule.CLOSED)],
            id="in one of two places where a definition is used",
        ),
    ],
)
def test_what_breaks(old: dict[str, Any], new: dict[str, Any], breaks: list[tuple[str, Rule]]) -> None:
    assert find_breaking_changes(old, new) == tuple(Break(*each) for each in breaks)
