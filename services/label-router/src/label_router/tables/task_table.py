"""Tasks: made of verdicts, locked while they change, counted. Who works on which is in `lease_table.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from label_router.handle import NewTask
from label_router.lease import Lease, Task
from label_router.refusals import no_such_task
from roadloop_runtime.storage.postgres import Connection, Pool
from roadloop_schemas.frames import FrameScreened

ACQUIRE_S = 5.0  # so long a request waits for a connection
COLUMNS = "task_id, tenant, state, verdict, lease_id, leased_by, lease_expires_at"


def read_task(row: "asyncpg.Record") -> Task:
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


LOCK = f"select {COLUMNS} from tasks where task_id = $1 and tenant = $2 for update"  # noqa: S608


async def lock(connection: Connection, tenant: str, task_id: str) -> Task:
    """Lock a task of a tenant until the transaction ends. Raises Problem where there is none."""
    row = await connection.fetchrow(LOCK, task_id, tenant)
    if row is None:
        raise no_such_task(task_id)
    return read_task(row)


DONE = """
update tasks set state = 'done', lease_id = null, leased_by = null, lease_expires_at = null where task_id = $1
"""


async def mark_done(connection: Connection, task_id: str) -> None:
    await connection.execute(DONE, task_id)


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
