"""How sharp a camera's pictures usually are: blur is told by that, for lenses and scenes differ fifty-fold. Pure."""

from typing import NamedTuple

from screen.memory import running_median

KNOWN_AFTER = 50
IN_A_ROW_AT_NIGHT = 3


class Sharpness(NamedTuple):
    """A camera's usual Laplacian variance, from how many frames, and how many blurred ones came last in a row."""

    median: float = 0.0
    seen: int = 0
    in_a_row: int = 0


NOTHING_USUAL = Sharpness()


def compare_to_usual(usual: Sharpness, laplacian_variance: float) -> float | None:
    """Return a picture's sharpness as a multiple of its camera's usual one; None while that is not known."""
    if usual.seen < KNOWN_AFTER or usual.median <= 0:
        return None
    return laplacian_variance / usual.median


def is_blurred(usual: Sharpness, laplacian_variance: float, *, ratio: float, at_night: bool) -> bool:
    """Say whether a picture is far less sharp than usual; at night only the third such one in a row is."""
    relative_sharpness = compare_to_usual(usual, laplacian_variance)
    if relative_sharpness is None or relative_sharpness >= ratio:
        return False
    return not at_night or usual.in_a_row + 1 >= IN_A_ROW_AT_NIGHT


def add_picture(usual: Sharpness, laplacian_variance: float, *, ratio: float) -> Sharpness:
    """Return what is usual after one more picture."""
    relative_sharpness = compare_to_usual(usual, laplacian_variance)
    in_a_row = usual.in_a_row + 1 if relative_sharpness is not None and relative_sharpness < ratio else 0
    return Sharpness(running_median.move(usual.median, laplacian_variance), usual.seen + 1, in_a_row)
