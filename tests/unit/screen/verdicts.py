"""A verdict to begin with."""

from datetime import UTC, datetime
from typing import Any

from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import FrameScreened, SliceCounters, Verdict, VerdictReason

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def verdict(**known: Any) -> FrameScreened:
    """Return a verdict on a frame that its score kept, but for what is said otherwise."""
    said = {
        "frame_id": "f-1",
        "unit_id": "u-1",
        "upload_id": "up-1",
        "vehicle": "car-1",
        "drive": "d-1",
        "object": ObjectRef(uri="s3://uploads/acme/car-1/1.jpg", sha256="0" * 64, size_bytes=10),
        "captured_at": NOON,
        "received_at": NOON,
        "width_px": 640,
        "height_px": 480,
        "verdict": Verdict.KEPT,
        "reasons": (VerdictReason.SCORE,),
        "slice": "rain/front",
        "policy_version": 1,
        "threshold": 0.5,
        "score": 0.6,
        "counters": SliceCounters(seen=1, kept=1, dropped=0, quarantined=0),
    }
    return FrameScreened.model_validate(said | known)
