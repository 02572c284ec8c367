"""Wake the runner: whoever gives it something to do says so in the transaction that did it."""

from roadloop_runtime.storage.postgres import Connection

WAKE = "select pg_notify('work_' || current_schema(), '')"


async def wake(connection: Connection) -> None:
    await connection.execute(WAKE)


async def channel(connection: Connection) -> str:
    """Return the name of the channel to listen on."""
    return f"work_{await connection.fetchval('select current_schema()')}"
