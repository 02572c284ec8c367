"""Which classes a tenant asks for. A tenant without a row takes every class."""

from roadloop_runtime.storage.postgres import Connection, Reader

CLASSES = "select classes from queues where tenant = $1"


async def classes_of(source: Reader, tenant: str) -> tuple[str, ...]:
    return tuple(await source.fetchval(CLASSES, tenant) or ())


SET = """
insert into queues (tenant, classes) values ($1, $2) on conflict (tenant) do update set classes = excluded.classes
"""


async def set_classes(connection: Connection, tenant: str, classes: tuple[str, ...]) -> None:
    await connection.execute(SET, tenant, list(classes))
