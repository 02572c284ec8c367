"""Right after hard frames were kept, the next ones of a drive teach less: their chances are discounted. Pure.

What was kept counts as an echo, which fades with every frame and ends with the drive.
"""

from math import exp
from typing import NamedTuple

FADES = exp(-1 / 6)  # per frame


class Echo(NamedTuple):
    """How many hard frames of a camera's drive were kept a short while ago: each counts its chance, and fades."""

    drive: str = ""
    value: float = 0.0


def add_frame(echo: Echo | None, drive: str, chance: float) -> Echo:
    """Return the echo after one more frame of a camera's drive: the chance that it is hard, 0 where it was not kept."""
    return Echo(drive, round(value_in(echo, drive) * FADES + chance, 6))


def value_in(echo: Echo | None, drive: str) -> float:
    """Return what is left of an echo in a drive; nothing in another drive than its own."""
    return echo.value if echo is not None and echo.drive == drive else 0.0


def discount(chance: float, echo: float, spread: float) -> float:
    """Return a frame's chance of being hard, held against what was kept before it; a larger `spread` discounts more."""
    return round(chance / (1 + spread * echo), 6)
