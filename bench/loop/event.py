"""The event that every program copies: 12 fields, about 500 bytes of JSON, a CloudEvents envelope in the headers."""

import hashlib
import random
from datetime import UTC, datetime, timedelta

from loop.seen import FrameSeen
from roadloop_runtime.records import Event, to_cloud_event

START = datetime(2025, 1, 1, tzinfo=UTC)


def make_event(n: int, topic: str) -> Event:
    """Return the n-th event. The same number gives the same bytes in every run."""
    draw = random.Random(n)
    sha256 = hashlib.sha256(str(n).encode()).hexdigest()
    vehicle = f"vehicle-{draw.randrange(500):04}"
    captured_at = START + timedelta(milliseconds=100 * n)
    body = FrameSeen(
        frame_id=f"{vehicle}.{sha256[:24]}",
        unit_id=f"unit-{sha256[24:48]}",
        upload_id=f"upload-{sha256[20:52]}",
        vehicle=vehicle,
        drive=f"{vehicle}.2025-01-01T08.{draw.randrange(60):02}",
        uri=f"s3://frames/{vehicle}/{sha256[:2]}/{sha256}.jpg",
        sha256=sha256,
        captured_at=captured_at,
        camera=draw.choice(("front wide", "front narrow", "left", "right", "rear")),
        width_px=1920,
        brightness=draw.random(),
        kept=draw.random() < 0.1,
    )
    return to_cloud_event(
        topic,
        body,
        id=sha256[:32],
        source="bench/fleet",
        tenant="north",
        key=vehicle,
        time=captured_at,
        subject=body.frame_id,
    )
