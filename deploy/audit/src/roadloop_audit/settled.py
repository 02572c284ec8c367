"""Audit a system in which nothing is on its way any more, but for the last moment."""

import asyncio
import time

from roadloop_audit.check import Finding, audit
from roadloop_audit.read import Places, read_facts


async def audit_settled(places: Places, within_s: float = 40.0) -> list[Finding]:
    """Look until nothing is found; else return what was still found at the end of the time."""
    end = time.monotonic() + within_s
    while True:
        found = audit(await read_facts(places, objects=True), 0.0, settled=True)
        if not found or time.monotonic() > end:
            return found
        await asyncio.sleep(1)
