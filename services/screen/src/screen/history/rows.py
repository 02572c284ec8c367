"""A verdict as a row of history, and back to the facts it was decided from. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from typing import Any

import pyarrow as pa

from roadloop_runtime.records import Record, tenant_of
from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import FrameMeasures, FrameScreened, ModelPair, VerdictReason
from screen.decision.facts import Facts
from screen.decision.frame_keys import FrameKeys, eye_of
from screen.decision.near_duplicates import Picture
from screen.vision.detections import Unjudged
from screen.vision.embedding import from_text
from screen.vision.label_errors import SERVED_FROM

IDS = ("frame_id", "unit_id", "upload_id", "vehicle", "drive")
OBJECTS = ("surely", "perhaps")
TEXTS = pa.list_(pa.string())
CLAIM = pa.struct([(name, pa.float64()) for name in ("x1", "y1", "x2", "y2", "score")] + [("class_name", pa.string())])
SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in IDS),
        *(pa.field(name, pa.timestamp("us", tz="UTC"), nullable=False) for name in ("captured_at", "received_at")),
        pa.field("object_uri", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("reasons", TEXTS, nullable=False),
        pa.field("rules", TEXTS, nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("condition", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("model", "second_model")),
        *(pa.field(name, pa.int64()) for name in ("model_version", "second_version")),
        pa.field("policy_version", pa.int64(), nullable=False),
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("score_parts", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("audit", pa.bool_(), nullable=False),
        pa.field("inclusion_probability", pa.float64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in ("budget", "debt")),
        *(pa.field(name, pa.float64()) for name in ("lot", "brightness", "laplacian_variance")),
        pa.field("nearest_bits", pa.int32()),
        *(pa.field(name, pa.float64()) for name in ("nearest_step", "nearest_cosine", "like_empty", "echo")),
        *(pa.field(name, pa.bool_()) for name in ("nothing_there", "new_object")),
        pa.field("matched", TEXTS),
        pa.field("claims", pa.list_(CLAIM), nullable=False),
        pa.field("replayed", pa.bool_(), nullable=False),
        pa.field("versions", pa.list_(pa.int64())),
        pa.field("shadow_version", pa.int64()),
        pa.field("shadow_parts", pa.map_(pa.string(), pa.float64())),
        pa.field("light_change", pa.float64()),
        pa.field("dhash", pa.string()),
        *(pa.field(name, pa.map_(pa.string(), pa.int64())) for name in OBJECTS),
        pa.field("embedding", pa.binary()),
    ]
)
COPIED = (
    *IDS,
    *("captured_at", "received_at", "detail", "slice", "policy_version", "threshold", "score", "audit"),
    *("inclusion_probability", "replayed"),
)
BEFORE_VERSIONS = (0,)  # rows from before each version had keep rates of its own: they all shared one
COMPARED_BY = ("dhash", *OBJECTS)
MEASURED = tuple(name for name in FrameMeasures.model_fields if name not in COMPARED_BY)
# what `facts_of_row` needs, and a policy
DECIDED_FROM = (
    *("tenant", "frame_id", "vehicle", "drive", "slice", "reasons", "detail", "score", "score_parts", "policy_version"),
    *MEASURED,
    *("shadow_version", "shadow_parts"),
)
# fields of Facts, in its order
_compared = itemgetter(
    *("nearest_bits", "nearest_step", "nearest_cosine", "light_change", "new_object", "nothing_there", "like_empty")
)
PAIR = ("model", "model_version", "second_model", "second_version")
PICTURED = (*COMPARED_BY, "embedding", *PAIR)  # what `picture_of_row` and `add_eye` need beside these


def row_of(record: Record) -> dict[str, Any]:
    """Return a record of `frames.screened.v1` as a row; raises ValidationError where it is no verdict.

    Of the detections those stay that count as claims; only kept frames have any.
    """
    verdict = FrameScreened.model_validate_json(record.value or b"")
    headers = dict(record.headers)
    pair = verdict.models
    return {
        "partition": record.partition,
        "offset": record.offset,
        "event_id": headers.get("ce_id", b"").decode(errors="replace"),
        "tenant": tenant_of(record),
        **{name: getattr(verdict, name) for name in COPIED},
        "object_uri": verdict.object.uri,
        "verdict": verdict.verdict.value,
        "reasons": [reason.value for reason in verdict.reasons],
        "rules": list(verdict.rules),
        "condition": verdict.condition.value,
        "score_parts": list(verdict.score_parts.items()),
        "model": pair and pair.name,
        "model_version": pair and pair.version,
        "second_model": pair and pair.second_name,
        "second_version": pair and pair.second_version,
        "budget": verdict.budget and verdict.budget.budget,
        "debt": verdict.budget and verdict.budget.debt,
        **{name: verdict.measures and getattr(verdict.measures, name) for name in (*MEASURED, "dhash")},
        **{name: verdict.measures and list(getattr(verdict.measures, name).items()) for name in OBJECTS},
        "embedding": from_text(verdict.embedding),
        "shadow_version": verdict.shadow and verdict.shadow.version,
        "shadow_parts": verdict.shadow and list(verdict.shadow.score_parts.items()),
        "claims": [detection.model_dump() for detection in verdict.detections if detection.score >= SERVED_FROM],
    }


def facts_of_row(row: Mapping[str, Any]) -> Facts | None:
    """Return the facts that a row was decided from; None where it is from before verdicts carried them."""
    if row["lot"] is None:
        return None
    versions = tuple(row["versions"] or BEFORE_VERSIONS)
    frame_keys = _make_frame_keys(row["tenant"], row["vehicle"], row["slice"], row["drive"], versions)
    unjudged = Unjudged(VerdictReason(row["reasons"][0]), row["detail"]) if row["score"] is None else None
    measured = (row["frame_id"], frame_keys, row["lot"], row["brightness"], row["laplacian_variance"])
    return Facts._make((*measured, dict(row["score_parts"]), *_compared(row), tuple(row["matched"]), unjudged))


def picture_of_row(row: Mapping[str, Any]) -> Picture:
    """Return what a row's picture is compared by; a row from before verdicts carried that has no `dhash`."""
    surely, perhaps = (tuple(row[name]) for name in OBJECTS)
    return Picture(row["dhash"], row["brightness"], row["embedding"] or b"", surely, perhaps)


def add_eye(row: Mapping[str, Any], facts: Facts) -> Facts:
    """Return a row's facts with the network whose embeddings its picture is compared by: it made the row's own."""
    eye = eye_of(ModelPair(**{field: row[name] for field, name in zip(ModelPair.model_fields, PAIR, strict=True)}))
    return facts._replace(keys=_replace_eye(facts.keys, eye))


@lru_cache(maxsize=1_000)
def _replace_eye(keys: FrameKeys, eye: str) -> FrameKeys:
    return replace(keys, eye=eye)


@lru_cache(maxsize=1_000)
def _make_frame_keys(tenant: str, vehicle: str, slice_name: str, drive: str, versions: tuple[int, ...]) -> FrameKeys:
    """Return where a row's frame belongs; neighbours in history mostly belong together."""
    condition, _, camera = slice_name.partition("/")
    return FrameKeys(tenant, vehicle, camera, Condition(condition), drive, versions=versions)
