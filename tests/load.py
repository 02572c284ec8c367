"""What every load on a whole stack does: ask for the books, and label for ever, also while a service is away."""

import asyncio
from itertools import count
from typing import Any

import httpx

from roadloop_world.actors.annotation_errors import CAREFUL
from roadloop_world.actors.annotators import label_tasks
from roadloop_world.actors.fleet import Truth


async def read_books(ingest: httpx.AsyncClient) -> dict[str, Any]:
    """Return the books; none while ingest or its database is away."""
    try:
        answer = await ingest.get("/v1/books")
        answer.raise_for_status()
    except httpx.HTTPError:
        return {}
    found: dict[str, Any] = answer.json()
    return found


async def label_for_ever(desk: httpx.AsyncClient, token: str, truth: Truth, seed: int) -> None:
    """Label task after task; while label-router is away, ask again as a browser does."""
    for again in count():
        try:
            await label_tasks(desk, token, truth, CAREFUL, seed=seed + 100 * again, stopping=asyncio.Event())
        except (httpx.TransportError, httpx.HTTPStatusError):
            await asyncio.sleep(0.3)
