"""One realistic example of every event: it is read, written back the same, and valid by its published schema."""

import json
from typing import Any

import pytest

from roadloop_schemas.fields import EventBody
from roadloop_schemas.topics import EVENTS
from tests.contract.published import EXAMPLES, SNAPSHOTS, valid


def read(event: str, example: object) -> EventBody:
    return EVENTS[event].model_validate_json(json.dumps(example))


def unfilled(part: object, at: str) -> list[str]:
    """Name the fields of a body, and of all bodies in it, that are absent, null or empty."""
    if isinstance(part, tuple):
        return [missing for index, item in enumerate(part) for missing in unfilled(item, f"{at}[{index}]")]
    if not isinstance(part, EventBody):
        return []
    missing = [f"{at}.{name}" for name in type(part).model_fields if name not in part.model_fields_set]
    empty = [f"{at}.{name}" for name, value in part if value is None or value in ((), {}, "")]
    return missing + empty + [inner for name, value in part for inner in unfilled(value, f"{at}.{name}")]


def with_unknown_fields(part: object, written: Any) -> Any:
    """Add a field nobody knows yet to a written body and to all bodies in it."""
    if isinstance(part, tuple):
        return [with_unknown_fields(item, text) for item, text in zip(part, written, strict=True)]
    if not isinstance(part, EventBody):
        return written
    known = {name: with_unknown_fields(value, written[name]) for name, value in part}
    return {"added_later": {"deep": [1, None]}} | known


def test_every_event_has_an_example_and_nothing_else_does() -> None:
    assert sorted(EXAMPLES) == sorted(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_an_example_is_written_back_as_it_was(event: str) -> None:
    assert json.loads(read(event, EXAMPLES[event]).model_dump_json()) == EXAMPLES[event]


@pytest.mark.parametrize("event", EVENTS)
def test_an_example_is_valid_by_the_published_schema(event: str) -> None:
    valid(EXAMPLES[event], SNAPSHOTS[event])


@pytest.mark.parametrize("event", EVENTS)
def test_an_example_fills_every_field(event: str) -> None:
    assert unfilled(read(event, EXAMPLES[event]), event) == []


@pytest.mark.parametrize("event", EVENTS)
def test_fields_added_later_are_ignored_at_every_depth(event: str) -> None:
    body = read(event, EXAMPLES[event])
    later = with_unknown_fields(body, EXAMPLES[event])
    valid(later, SNAPSHOTS[event])
    assert read(event, later) == body
