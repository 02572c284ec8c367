"""Which units can wait while live ones are screened. Pure."""

from datetime import timedelta

from roadloop_runtime.decode import Received
from roadloop_schemas.frames import FramesIngested

LIVE, BACKFILL = 1, 2  # priorities of `serving/config.json`
LATE = timedelta(hours=1)  # pictures that come so long after they were taken are no live ones


def is_backfill(unit: Received[FramesIngested]) -> bool:
    """Say whether a unit can wait: it was a dead letter before, or its pictures came long after they were taken."""
    taken = max(frame.captured_at for frame in unit.body.frames)
    return unit.replayed or unit.body.received_at - taken > LATE
