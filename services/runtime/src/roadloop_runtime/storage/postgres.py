"""Postgres access: one pool per process, every statement with a time limit."""

from typing import TYPE_CHECKING, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:  # asyncpg's classes are generic in its stubs only
    Connection = asyncpg.Connection | PoolConnectionProxy
    Pool = asyncpg.Pool
Reader: TypeAlias = Pool | Connection
STATEMENT_TIMEOUT_S = 30.0
# Whatever may go wrong on a connection: it says nothing of what was asked.
CONNECTION_FAILED = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
# Postgres is away, or had no room for this: the same may work later.
DATABASE_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)


async def open_pool(dsn: str, *, name: str, size: int = 8) -> Pool:
    """Open the pool. The application name shows in pg_stat_activity."""
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        timeout=10,
        command_timeout=STATEMENT_TIMEOUT_S,
        server_settings={"application_name": name, "idle_in_transaction_session_timeout": "10000"},
    )


async def answers(pool: Pool) -> bool:
    """Say whether Postgres answers now: the canary and the readiness check."""
    try:
        return bool(await pool.fetchval("select true", timeout=2))
    except CONNECTION_FAILED:
        return False
