"""Compare two JSON Schemas of one event: may the newer follow the older on the same topic?

The rule is BACKWARD with every name kept: what was valid stays valid and means the same. Optional fields may be
added and limits widened, nothing else. As a limit only ever widens, a history of compatible steps is transitive.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Schema = Mapping[str, Any]


class Rule(StrEnum):
    """What an edit broke."""

    REMOVED = "a field may not be removed or renamed"
    REQUIRED = "a field may not become required, and a new one must have a default"
    RETYPED = "a type that was allowed may not go or change"
    DEFAULT_CHANGED = "an absent field must go on meaning the same"
    VALUE_REMOVED = "a value that was allowed may not go"
    TIGHTENED = "a limit may only be widened"
    PATTERN_CHANGED = "a pattern may be dropped, never changed or added"
    CLOSED = "unknown fields must stay allowed"
    UNJUDGED = "this kind of change is not known to be harmless"


@dataclass(frozen=True, slots=True)
class Break:
    """One breaking change. `field` is a path such as `frames[].object.uri`; the body itself is empty."""

    field: str
    rule: Rule


def find_breaking_changes(old: Schema, new: Schema) -> tuple[Break, ...]:
    """List what a record valid under `old`, or its reader, would stumble over under `new`; none means compatible."""
    return tuple(_compare(_inline(old, old.get("$defs", {})), _inline(new, new.get("$defs", {})), ""))


def _inline(node: Any, definitions: Schema, within: tuple[str, ...] = ()) -> Any:
    """Put definitions in the place of their references; a recursive reference stays one and is compared by name."""
    if isinstance(node, list):
        return [_inline(part, definitions, within) for part in node]
    if not isinstance(node, Mapping):
        return node
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions and name not in within:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _inline({**definitions[name], **beside}, definitions, (*within, name))
    return {key: _inline(value, definitions, within) for key, value in node.items() if key != "$defs"}


def _compare(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    """Every alternative of the old schema needs one of its type in the new one; the closest counts."""
    for before in _list_alternatives(old):
        candidates = [after for after in _list_alternatives(new) if after.get("type") == before.get("type")]
        if candidates:
            yield from min((list(_compare_alternative(before, after, at)) for after in candidates), key=len)
        else:
            yield Break(at, Rule.RETYPED)


def _list_alternatives(schema: Schema) -> Sequence[Schema]:
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return [part for branch in schema[keyword] for part in _list_alternatives(branch)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": name} for name in schema["type"]]
    return [schema]


def _compare_alternative(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    for compare in (
        _compare_values,
        _compare_limits,
        _compare_texts,
        _compare_fields,
        _compare_items,
        _compare_unknown,
    ):
        yield from compare(old, new, at)


def _compare_values(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    before, after = _list_allowed(old), _list_allowed(new)
    if after is not None and (before is None or any(value not in after for value in before)):
        yield Break(at, Rule.VALUE_REMOVED)


def _list_allowed(schema: Schema) -> Sequence[object] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


_LIMITS = (
    ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"),
    ("minLength", "", "maxLength", ""),
    ("minItems", "", "maxItems", ""),
    ("minProperties", "", "maxProperties", ""),
)


def _compare_limits(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    for lower, above, upper, below in _LIMITS:
        lowest = [max((s.get(lower, -math.inf), 0), (s.get(above, -math.inf), 1)) for s in (old, new)]
        highest = [min((s.get(upper, math.inf), 1), (s.get(below, math.inf), 0)) for s in (old, new)]
        if lowest[1] > lowest[0] or highest[1] < highest[0]:
            yield Break(at, Rule.TIGHTENED)


def _compare_texts(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    if old.get("format") != new.get("format"):
        yield Break(at, Rule.RETYPED)
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield Break(at, Rule.PATTERN_CHANGED)


def _compare_fields(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    before, after = old.get("properties", {}), new.get("properties", {})
    newly_required = set(new.get("required", ())) - set(old.get("required", ()))
    for name in [*before, *(added for added in after if added not in before)]:
        field = f"{at}.{name}" if at else name
        if name not in after:
            yield Break(field, Rule.REMOVED)
            continue
        if name in newly_required:
            yield Break(field, Rule.REQUIRED)
        elif "default" in before.get(name, ()) and before[name]["default"] != after[name].get("default", ...):
            yield Break(field, Rule.DEFAULT_CHANGED)
        if name in before:
            yield from _compare(before[name], after[name], field)
    yield from _compare_other_fields(old.get("additionalProperties", True), new.get("additionalProperties", True), at)


def _compare_other_fields(old: Schema | bool, new: Schema | bool, at: str) -> Iterator[Break]:
    if old is False or new is True:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _compare(old, new, f"{at}.*" if at else "*")
    else:
        yield Break(at, Rule.CLOSED)


def _compare_items(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    before, after = old.get("prefixItems", []), new.get("prefixItems", [])
    if len(before) != len(after) or ("items" in old) != ("items" in new):
        yield Break(at, Rule.RETYPED)
        return
    for place, (was, becomes) in enumerate(zip(before, after, strict=True)):
        yield from _compare(was, becomes, f"{at}[{place}]")
    if "items" in old:
        yield from _compare(old["items"], new["items"], f"{at}[]")


_JUDGED = {keyword for row in _LIMITS for keyword in row} | {
    *("type", "enum", "const", "format", "pattern", "properties", "required", "additionalProperties"),
    *("items", "prefixItems", "default", "title", "description", "examples", "deprecated", "$schema", "$comment"),
}


def _compare_unknown(old: Schema, new: Schema, at: str) -> Iterator[Break]:
    if any(old.get(keyword) != new.get(keyword) for keyword in {*old, *new} - _JUDGED):
        yield Break(at, Rule.UNJUDGED)
