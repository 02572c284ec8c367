"""Wait for what must come true: as long as anything moves, however slowly, and no longer."""

import asyncio
from collections.abc import Callable

from roadloop_runtime.standstill import Standstill
from roadloop_world.demo.loop_state import LoopState

STANDSTILL_S = 300.0
LOOK_S = 1.0


class StoodStill(Exception):
    """Nothing moved for long while something was waited for: the text says what, what came last, where to look."""


class Watch:
    """The loop's state, and who waits for it. `notify` is called by whoever has folded something in."""

    def __init__(self, state: LoopState, *, patience_s: float = STANDSTILL_S) -> None:
        self.state = state
        self._patience_s = patience_s
        self._moved = asyncio.Event()

    def notify(self) -> None:
        """Let those who wait look again."""
        self._moved.set()

    async def wait_until(self, what: str, condition: Callable[[], bool], *, look_at: str) -> None:
        """Wait until `condition` holds; raises StoodStill where nothing at all has moved for long."""
        clock = asyncio.get_running_loop().time
        standstill = Standstill(self.state.moves, clock())
        while not condition():
            if standstill.look(self.state.moves, clock()) > self._patience_s:
                raise StoodStill(self._describe(what, look_at))
            await self._wait_for_move()

    async def _wait_for_move(self) -> None:
        self._moved.clear()
        try:
            async with asyncio.timeout(LOOK_S):
                await self._moved.wait()
        except TimeoutError:
            return

    def _describe(self, what: str, look_at: str) -> str:
        waited = f"waited for this: {what}. Nothing has moved for {self._patience_s:.0f} s; what moved last"
        return f"{waited}: {self.state.last}. Look at {look_at}"
