"""Wait for conditions: the one place where a test may sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(what: str, condition: Callable[[], Awaitable[bool]], timeout_s: float = 60) -> None:
    """Wait for a condition; say what did not come true."""
    end = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.2)
