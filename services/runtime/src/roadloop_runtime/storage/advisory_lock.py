"""Of several processes one works: whose connection has an advisory lock. It is lost with the connection."""

import asyncio

from roadloop_runtime.storage.postgres import Connection

ASK_EVERY_S = 1.0
LOCK = "select pg_try_advisory_lock(hashtext($1), hashtext(current_schema()))"


async def acquire(connection: Connection, name: str) -> None:
    """Wait until this connection has the lock of that name, of which each schema has its own."""
    while not await connection.fetchval(LOCK, name):  # noqa: ASYNC110  (nobody tells when the lock is free)
        await asyncio.sleep(ASK_EVERY_S)
