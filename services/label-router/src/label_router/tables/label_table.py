"""Labels. A label, its task's end and its event are one transaction."""

import json
from datetime import datetime

from label_router.completion import Label, complete, completed_event, require_repeat
from label_router.submission import Submission
from label_router.tables import task_table
from label_router.tables.annotator_table import Annotator
from label_router.tables.queue_classes_table import classes_of
from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.storage.postgres import Connection, Pool
from roadloop_schemas.fields import LabelBox


async def submit(pool: Pool, annotator: Annotator, task_id: str, submission: Submission, *, now: datetime) -> Label:
    """Save a label, or return the one that the same submission saved before. Raises Problem; then nothing changed."""
    async with pool.acquire(timeout=task_table.ACQUIRE_S) as connection, connection.transaction():
        task = await task_table.lock(connection, annotator.tenant, task_id)
        if task.done:
            label = await newest(connection, task_id)
            require_repeat(label, annotator, submission)
            return label
        classes = await classes_of(connection, annotator.tenant)
        label = complete(task, annotator, submission, classes=classes, now=now)
        await insert(connection, label)
        await task_table.mark_done(connection, task_id)
        await outbox_table.append(connection, [completed_event(task, label)])
    return label


NEWEST = """
select task_id, label_version, annotator, lease_id, boxes, lead_time_s, completed_at from labels
where task_id = $1 order by label_version desc limit 1
"""


async def newest(connection: Connection, task_id: str) -> Label:
    """Return the newest label of a task that is done: such a task has one."""
    row = await connection.fetchrow(NEWEST, task_id)
    if row is None:
        raise LookupError(f"task {task_id} is done and has no label")
    task, version, annotator, lease_id, boxes, lead_time_s, completed_at = row
    read = tuple(LabelBox.model_validate(box) for box in json.loads(boxes))
    return Label(task, version, annotator, lease_id, read, lead_time_s, completed_at)


INSERT = """
insert into labels (task_id, label_version, annotator, lease_id, boxes, lead_time_s, completed_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""


async def insert(connection: Connection, label: Label) -> None:
    boxes = json.dumps([box.model_dump() for box in label.boxes])
    await connection.execute(
        INSERT,
        label.task_id,
        label.label_version,
        label.annotator_id,
        label.lease_id,
        boxes,
        label.lead_time_s,
        label.completed_at,
    )
