"""Who works on which task, and which is next."""

from datetime import datetime, timedelta

from label_router.lease import Task, require_lease
from label_router.tables.annotator_table import Annotator
from label_router.tables.task_table import ACQUIRE_S, COLUMNS, lock, read_task
from roadloop_runtime.storage.postgres import Pool

# Not `for update`: a submit of the same annotator checks its foreign key meanwhile, and both would wait for ever.
ONE_AT_A_TIME = "select true from annotators where annotator_id = $1 for no key update"
HELD = f"""
select {COLUMNS} from tasks where leased_by = $1 and state = 'open' and lease_expires_at > $2 for update
"""  # noqa: S608 the columns are ours
TAKE = f"""
update tasks set lease_id = $3, leased_by = $2, lease_expires_at = $5
where task_id = (
    select task_id from tasks
    where tenant = $1 and state = 'open' and (lease_expires_at is null or lease_expires_at <= $4)
    order by position limit 1 for update skip locked)
returning {COLUMNS}
"""  # noqa: S608


async def lease_next(pool: Pool, annotator: Annotator, *, lease_id: str, now: datetime, lease_s: float) -> Task | None:
    """Lease the task that has waited longest; an annotator with a live lease gets that task again."""
    expires_at = now + timedelta(seconds=lease_s)
    async with pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
        await connection.execute(ONE_AT_A_TIME, annotator.annotator_id)
        row = await connection.fetchrow(HELD, annotator.annotator_id, now)
        if row is None:
            row = await connection.fetchrow(TAKE, annotator.tenant, annotator.annotator_id, lease_id, now, expires_at)
    return read_task(row) if row else None


# A returned task goes to the end of its queue, or who gave it back would get it right again.
RETURN = """
update tasks set lease_id = null, leased_by = null, lease_expires_at = null,
    position = nextval(pg_get_serial_sequence('tasks', 'position'))
where task_id = $1
"""


async def give_back(pool: Pool, annotator: Annotator, task_id: str, *, lease_id: str, now: datetime) -> None:
    """End a live lease; the task waits again, behind the others. Raises Problem."""
    async with pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
        require_lease(await lock(connection, annotator.tenant, task_id), annotator, lease_id, now)
        await connection.execute(RETURN, task_id)
