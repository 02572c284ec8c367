"""Ask PostgreSQL whether it answers, and make in it what the services expect."""

import asyncpg

from roadloop_local.errors import NotReadyError
from roadloop_local.layout import Layout
from roadloop_local.servers.postgres import ADMIN, DATABASE, ROLES, dsn


async def check(layout: Layout) -> None:
    """Run `select 1`; raise `NotReadyError` until it answers."""
    try:
        connection = await asyncpg.connect(dsn(layout, ADMIN, "postgres"), timeout=30)
        try:
            await connection.fetchval("select 1", timeout=30)
        finally:
            await connection.close(timeout=30)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise NotReadyError(f"postgres at {layout.address('postgres')}: {error}") from error


async def prepare(layout: Layout) -> None:
    """Make the database, the roles and their schemas; what exists stays."""
    connection = await asyncpg.connect(dsn(layout, ADMIN, "postgres"), timeout=60)
    try:
        if not await connection.fetchval("select true from pg_database where datname = $1", DATABASE):
            await connection.execute(f"create database {DATABASE}")
    finally:
        await connection.close()
    connection = await asyncpg.connect(dsn(layout, ADMIN), timeout=60)
    try:
        async with connection.transaction():
            await connection.execute(
                f"revoke all on database {DATABASE} from public; revoke all on schema public from public"
            )
            for role in ROLES:
                await make_role(connection, role, layout.secrets[f"postgres.{role}"])
    finally:
        await connection.close()


async def make_role(connection: "asyncpg.Connection[asyncpg.Record]", role: str, password: str) -> None:
    """Make one role that may log in, with a schema of the same name first in its path."""
    if not await connection.fetchval("select true from pg_roles where rolname = $1", role):
        await connection.execute(f"create role {role} login")
    await connection.execute(
        await connection.fetchval("select format('alter role %I password %L', $1::text, $2::text)", role, password)
    )
    await connection.execute(f"grant connect, temporary on database {DATABASE} to {role}")
    await connection.execute(f"create schema if not exists {role} authorization {role}")
    await connection.execute(f"alter role {role} in database {DATABASE} set search_path = {role}")
