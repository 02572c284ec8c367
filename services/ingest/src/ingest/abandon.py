"""Uploads that were announced and never completed: after a while they are abandoned, until they are completed late."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from ingest import fate_table
from ingest.reasons import FileReason
from roadloop_runtime.storage.postgres import DATABASE_AWAY, Pool

log = structlog.get_logger()
LOOK_EVERY_S = 60.0
AT_ONCE = 200

ABANDON = """
with late as (
    select tenant, upload_id from uploads
    where completed_at is null and admitted_at is null and whole_fate is null and received_at < $1
    order by received_at limit $2 for update skip locked
)
update uploads set whole_fate = 'abandoned', whole_reason = $3 from late
where uploads.tenant = late.tenant and uploads.upload_id = late.upload_id
returning uploads.tenant, uploads.upload_id
"""


async def abandon_for_ever(pool: Pool, after: timedelta, clock: Callable[[], datetime]) -> None:
    """Look every minute, until cancelled. While Postgres is away there is nothing to abandon."""
    while True:
        try:
            while await abandon_late(pool, clock() - after):
                continue
        except DATABASE_AWAY as error:
            log.warning("abandon_waits", error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(LOOK_EVERY_S)


async def abandon_late(pool: Pool, before: datetime) -> int:
    """Abandon some uploads that were announced before a moment, and tell their fates; return how many."""
    async with pool.acquire() as connection, connection.transaction():
        late = await connection.fetch(ABANDON, before, AT_ONCE, FileReason.NEVER_COMPLETED.value)
        await fate_table.publish(connection, [(row["tenant"], row["upload_id"]) for row in late])
    return len(late)
