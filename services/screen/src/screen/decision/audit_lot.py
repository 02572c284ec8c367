"""Which frames are kept by lot, to check the screening. Pure."""

from hashlib import blake2b


def draw_lot(frame_id: str, salt: bytes) -> float:
    """Return a frame's lot, uniform in [0, 1): from its id, so that a replay draws the same.

    A frame's id follows from its picture, which its sender chooses: the salt is a secret, at most 64 bytes, so that
    nobody can tell which of his frames will check the screening.
    """
    return int.from_bytes(blake2b(frame_id.encode(), digest_size=7, key=salt).digest(), "big") / 2**56
