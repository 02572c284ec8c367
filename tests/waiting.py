"""Wait for conditions: the one place where a test may sleep.

How fast a machine is decides nothing. A wait ends when its condition came true, or when nothing moved for so long that
something hangs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from roadloop_runtime.standstill import Standstill

GUARD_S = 300.0  # what has not moved for so long hangs
TRAINING_S = 900.0  # a training that hangs is ended by its service after 600 s, which says where it was
LONG_TEST_S = 3_600  # for a test of the whole stack, whose waits go on as long as something moves
ASK_EVERY_S, LOOK_EVERY_S = 0.2, 2.0
Moving = Callable[[], Awaitable[object]]


async def no_signs() -> object:
    """Show nothing that moves: the patience is for the whole of a wait."""
    return "no signs of progress are looked at here"


async def eventually(
    what: str, condition: Callable[[], Awaitable[bool]], patience_s: float = GUARD_S, *, moving: Moving = no_signs
) -> None:
    """Wait for a condition; say what did not come true, and what was seen last.

    `moving` returns what changes while there is progress, and tells a person where it stopped: each change renews the
    patience, so that a long wait fails only where nothing has moved for all of it.
    """
    clock = asyncio.get_running_loop().time
    standstill = Standstill(await moving(), clock())
    look_at = clock() + LOOK_EVERY_S
    while not await condition():
        if clock() >= look_at:
            stood_s = standstill.look(await moving(), clock())
            assert stood_s < patience_s, f"nothing moved for {stood_s:.0f} s: {what}; seen last: {standstill.last}"
            look_at = clock() + LOOK_EVERY_S
        await asyncio.sleep(ASK_EVERY_S)


def last_line(log: Path) -> str:
    """Return the last line of a program's log: it tells where a program is, and changes while it gets on."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else ""
