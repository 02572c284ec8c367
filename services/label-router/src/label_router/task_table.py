"""Tasks and their leases. A lease is live until its expiry; an expired one holds nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from label_router.annotator_table import Annotator
from label_router.handle import NewTask
from label_router.refusals import lease_gone, no_such_task
from roadloop_runtime.storage.postgres import Connection, Pool
from roadloop_schemas.frames import FrameScreened

ACQUIRE_S = 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a task, and until when."""

    lease_id: str
    annotator_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is in the table. `lease` is the one given last, live or expired."""

    task_id: str
    tenant: str
    done: bool
    verdict: FrameScreened
    lease: Lease | None


COLUMNS = "task_id, tenant, state, verdict, lease_id, leased_by, lease_expires_at"


def _task(row: "asyncpg.Record") -> Task:
    lease = Lease(row["lease_id"], row["leased_by"], row["lease_expires_at"]) if row["lease_id"] else None
    verdict = FrameScreened.model_validate_json(row["verdict"])
    return Task(row["task_id"], row["tenant"], row["state"] == "done", verdict, lease)


INSERT = """
insert into tasks (task_id, tenant, queue, verdict, requested_at) values ($1, $2, $3, $4, $5)
on conflict (task_id) do nothing
"""


async def store(connection: Connection, changes: Sequence[Any]) -> None:
    """Insert new tasks, in the transaction that settles their verdicts; a task that exists stays as it is."""
    await connection.executemany(INSERT, [_row(task) for task in changes])


def _row(task: NewTask) -> tuple[object, ...]:
    return (task.task_id, task.tenant, task.queue, task.verdict.model_dump_json(), task.requested_at)


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
    return _task(row) if row else None


LOCK = f"select {COLUMNS} from tasks where task_id = $1 and tenant = $2 for update"  # noqa: S608


async def lock(connection: Connection, tenant: str, task_id: str) -> Task:
    """Lock a task of a tenant until the transaction ends. Raises Problem where there is none."""
    row = await connection.fetchrow(LOCK, task_id, tenant)
    if row is None:
        raise no_such_task(task_id)
    return _task(row)


def require_lease(task: Task, annotator: Annotator, lease_id: str, now: datetime) -> None:
    """Raise Problem unless this annotator holds this task by this lease now."""
    lease = task.lease
    if lease is None or (lease.lease_id, lease.annotator_id) != (lease_id, annotator.annotator_id):
        raise lease_gone(task.task_id, f"lease {lease_id} does not hold it: it ended, or is not yours")
    if lease.expires_at <= now:
        raise lease_gone(task.task_id, f"lease {lease_id} expired at {lease.expires_at.isoformat()}")


DONE = """
update tasks set state = 'done', lease_id = null, leased_by = null, lease_expires_at = null where task_id = $1
"""


async def mark_done(connection: Connection, task_id: str) -> None:
    await connection.execute(DONE, task_id)


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


COUNT = """
select count(*) filter (where state = 'open' and (lease_expires_at is null or lease_expires_at <= $2)) as waiting,
       count(*) filter (where state = 'open' and lease_expires_at > $2) as leased,
       count(*) filter (where state = 'done') as done
from tasks where tenant = $1
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks of a tenant are in which state; an expired lease counts as waiting."""

    waiting: int
    leased: int
    done: int


async def count(pool: Pool, tenant: str, *, now: datetime) -> Counts:
    row = await pool.fetchrow(COUNT, tenant, now)
    assert row is not None  # noqa: S101 an aggregate always has a row
    return Counts(**row)
