"""Read what an annotator hands in, or say which box breaks which rule. Pure: bytes in, values out."""

import json
import re
from dataclasses import dataclass
from typing import Any

from roadloop_runtime.service.problems import Problem
from roadloop_schemas.fields import LabelBox

MAX_BOXES = 500
MAX_LEAD_TIME_S = 86_400
CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")
LEASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
EDGES = ("x1", "y1", "x2", "y2")

_LEASE = {"type": "string", "description": "The lease_id that POST /v1/tasks/next gave."}
_EDGE = {"type": "number", "minimum": 0, "maximum": 1, "description": "In parts of the picture, origin top left."}
_BOX = {
    "type": "object",
    "required": ["class_name", *EDGES],
    "properties": {"class_name": {"type": "string", "pattern": f"^{CLASS_NAME.pattern}$"}}
    | dict.fromkeys(EDGES, _EDGE),
}
LEASE_SCHEMA = {"type": "object", "required": ["lease_id"], "properties": {"lease_id": _LEASE}}
SUBMISSION_SCHEMA = {
    "type": "object",
    "required": ["lease_id", "boxes", "lead_time_s"],
    "properties": {
        "lease_id": _LEASE,
        "boxes": {"type": "array", "maxItems": MAX_BOXES, "items": _BOX},
        "lead_time_s": {"type": "number", "minimum": 0, "maximum": MAX_LEAD_TIME_S},
    },
}


@dataclass(frozen=True, slots=True)
class Submission:
    """The boxes of one task. No boxes means: somebody looked and there is nothing."""

    lease_id: str
    boxes: tuple[LabelBox, ...]
    lead_time_s: float


def read_submission(body: bytes) -> Submission:
    """Read a body. Raises Problem and nothing else."""
    fields = read_fields(body)
    lease_id = lease_of(fields)
    boxes = fields.get("boxes")
    if not isinstance(boxes, list):
        raise _refused("boxes", "must be a list", "send [] where there is nothing to see")
    if len(boxes) > MAX_BOXES:
        rule = f"must have at most {MAX_BOXES} boxes, has {len(boxes)}"
        raise _refused("boxes", rule, "label the largest ones, or return the task")
    read = tuple(_read_box(number, box) for number, box in enumerate(boxes, 1))
    return Submission(lease_id, read, _read_lead_time(fields.get("lead_time_s")))


def read_lease(body: bytes) -> str:
    """Read a body that names a lease alone. Raises Problem."""
    return lease_of(read_fields(body))


def check_classes(boxes: tuple[LabelBox, ...], classes: tuple[str, ...]) -> None:
    """Raise Problem at the first box whose class the queue does not ask for; no classes means every class."""
    for number, box in enumerate(boxes, 1):
        if classes and box.class_name not in classes:
            rule = f"{box.class_name!r} is not a class of this queue"
            raise _refused("class_name", rule, f"use one of: {', '.join(classes)}", number)


def read_fields(body: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises Problem. NaN and infinity pass here and are refused where they stand."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refused("(body)", "must be JSON", "send a JSON object with Content-Type application/json") from error
    if not isinstance(fields, dict):
        raise _refused("(body)", "must be a JSON object", "send an object with the fields that the API describes")
    return fields


def lease_of(fields: dict[str, Any]) -> str:
    lease_id = fields.get("lease_id")
    if not isinstance(lease_id, str) or not LEASE_ID.fullmatch(lease_id):
        raise _refused("lease_id", "must be a lease id", "send the lease_id that POST /v1/tasks/next gave")
    return lease_id


def _read_box(number: int, box: object) -> LabelBox:
    if not isinstance(box, dict):
        raise _refused("(box)", "must be an object", "send class_name, x1, y1, x2 and y2", number)
    class_name = box.get("class_name")
    if not isinstance(class_name, str) or not CLASS_NAME.fullmatch(class_name):
        rule = "must be 1 to 64 letters, digits, spaces or . _ + -, starting with a letter or digit"
        raise _refused("class_name", rule, "send the name of a class as the task lists it", number)
    x1, y1, x2, y2 = (_read_edge(number, edge, box.get(edge)) for edge in EDGES)
    for low, high, first, second in (("x1", "x2", x1, x2), ("y1", "y2", y1, y2)):
        if second <= first:
            rule = f"must be greater than {low} ({second} is not greater than {first})"
            raise _refused(high, rule, "draw the box from top left to bottom right, or leave it out", number)
    return LabelBox(class_name=class_name, x1=x1, y1=y1, x2=x2, y2=y2)


def _read_edge(number: int, field: str, value: object) -> float:
    if _is_within(value, 1):
        return float(value) + 0.0  # type: ignore[arg-type]  # + 0.0 makes -0.0 a plain 0
    said = "is missing" if value is None else f"is {ascii(value)[:40]}"
    raise _refused(
        field, f"must be a number from 0 to 1, {said}", "divide pixels by the picture's width or height", number
    )


def _read_lead_time(value: object) -> float:
    if _is_within(value, MAX_LEAD_TIME_S):
        return float(value) + 0.0  # type: ignore[arg-type]
    rule = f"must be a number from 0 to {MAX_LEAD_TIME_S}"
    raise _refused("lead_time_s", rule, "send the seconds from showing the picture to handing it in")


def _is_within(value: object, high: int) -> bool:
    """Say whether a value is a number from 0 to `high`; NaN, infinity, true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= high


def _refused(field: str, rule: str, remedy: str, box: int | None = None) -> Problem:
    where = field if box is None else f"box {box}, {field}"
    more = {"box": box, "field": field, "rule": rule, "remedy": remedy}
    title = "The submission breaks a rule"
    return Problem(422, "invalid-submission", f"{where}: {rule}; {remedy}.", title=title, more=more)
