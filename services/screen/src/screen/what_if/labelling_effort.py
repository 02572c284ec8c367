"""How long people label, estimated from what is in the frames. Pure."""

SECONDS_PER_FRAME, SECONDS_PER_OBJECT = 4.0, 3.0


def estimate_seconds(frames: int, objects_per_frame: float) -> float:
    """Return what it takes to label so many frames."""
    return frames * (SECONDS_PER_FRAME + SECONDS_PER_OBJECT * objects_per_frame)
