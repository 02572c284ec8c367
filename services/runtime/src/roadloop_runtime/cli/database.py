"""How commands ask Postgres, and what they say where it fails."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg

from roadloop_runtime.cli.terminal import Refused, leave
from roadloop_runtime.storage.postgres import CONNECTION_FAILED, Connection

T = TypeVar("T")


@contextmanager
def report_database_errors() -> Iterator[None]:
    """Print a database that refuses or does not answer as one line, and leave with 1."""
    try:
        yield
    except Refused as error:
        leave(str(error))
    except (*CONNECTION_FAILED, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        leave(
            f"Postgres refused ({reason}): check --postgres, and that the service's schema is migrated (`roadloop up`)"
        )


def ask_database(dsn: str, ask: Callable[[Connection], Awaitable[T]]) -> T:
    """Ask Postgres once, on a connection of its own."""

    async def ask_once() -> T:
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
        try:
            return await ask(connection)
        finally:
            await connection.close(timeout=2)

    with report_database_errors():
        return asyncio.run(ask_once())
