"""What the copied events are: 12 fields of plain types, so that validation costs every program as little as it can."""

from datetime import datetime

from roadloop_schemas.fields import EventBody


class FrameSeen(EventBody):
    """A frame, as the measurements tell of it."""

    frame_id: str
    unit_id: str
    upload_id: str
    vehicle: str
    drive: str
    uri: str
    sha256: str
    captured_at: datetime
    camera: str
    width_px: int
    brightness: float
    kept: bool
