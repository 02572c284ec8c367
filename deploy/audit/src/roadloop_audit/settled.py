"""Audit a system in which nothing is on its way any more, but for the last moment."""

import asyncio
import time

from roadloop_audit.check import Finding, audit
from roadloop_audit.read import Places, read_facts

LOOKS_AT_LEAST = 5


async def audit_settled(places: Places, within_s: float = 40.0) -> list[Finding]:
    """Look until nothing is found; else return what stayed the same for so long, and over several looks.

    As long as the findings change, something is still on its way, however slowly.
    """
    findings, repeats, since = await _look(places), 1, time.monotonic()
    while findings and (repeats < LOOKS_AT_LEAST or time.monotonic() - since < within_s):
        await asyncio.sleep(1)
        now = await _look(places)
        if now != findings:
            findings, repeats, since = now, 0, time.monotonic()
        repeats += 1
    return findings


async def _look(places: Places) -> list[Finding]:
    return audit(await read_facts(places, objects=True), 0.0, settled=True)
