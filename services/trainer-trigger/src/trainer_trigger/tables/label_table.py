"""The labels: one row per frame and label version, kept as they came."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from roadloop_runtime.storage.postgres import Connection, Pool
from roadloop_schemas.fields import LabelBox, ObjectRef
from roadloop_schemas.labels import LabelCompleted
from trainer_trigger.tables.notify import wake

INSERT = """
insert into labels (tenant, frame_id, label_version, picture, boxes, boxes_digest, classes, condition, slice, source,
                    inclusion_probability, vehicle, drive, completed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
on conflict (tenant, frame_id, label_version) do nothing
"""
# The newest version of each frame whose boxes all have classes the model knows.
NEWEST = """
select * from (
    select distinct on (frame_id) * from labels where tenant = $1 order by frame_id, label_version desc
) as newest where unusable is null and classes <@ $2::text[]
"""
COUNT_NEW = f"""
select count(*) from ({NEWEST}) as usable where not exists (
    select from run_frames as used
    where used.run_id = $3 and used.frame_id = usable.frame_id and used.label_version = usable.label_version
)
"""  # noqa: S608 only constants
TAKE = f"{NEWEST} order by completed_at desc, frame_id limit $3"
OF_RUN = """
select labels.* from run_frames join labels using (frame_id, label_version)
where run_id = $1 and tenant = $2 order by frame_id
"""
SET_UNUSABLE = """
update labels set unusable = $4 where tenant = $1 and frame_id = $2 and label_version = $3
"""


@dataclass(frozen=True, slots=True)
class Completed:
    """A label to store, and whose it is."""

    tenant: str
    label: LabelCompleted


@dataclass(frozen=True, slots=True)
class Label:
    """What training needs of a label."""

    frame_id: str
    label_version: int
    picture: ObjectRef
    boxes: tuple[LabelBox, ...]
    boxes_digest: str  # sha256 of the sorted boxes
    condition: str


def digest_of(boxes: Sequence[LabelBox]) -> str:
    """Return a sha256 that does not depend on the order of the boxes."""
    lines = sorted(f"{box.class_name} {box.x1!r} {box.y1!r} {box.x2!r} {box.y2!r}" for box in boxes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


async def store(connection: Connection, changes: Sequence[Completed]) -> None:
    """Store labels, each version once."""
    await connection.executemany(INSERT, [_row(change.tenant, change.label) for change in changes])
    await wake(connection)


def _row(tenant: str, label: LabelCompleted) -> tuple[object, ...]:
    boxes = json.dumps([box.model_dump() for box in label.boxes])
    classes = sorted({box.class_name for box in label.boxes})
    return (
        *(tenant, label.frame_id, label.label_version, label.object.model_dump_json(), boxes),
        *(digest_of(label.boxes), classes, label.condition.value, label.slice, label.source.value),
        *(label.inclusion_probability, label.vehicle, label.drive, label.completed_at),
    )


async def count_new(pool: Pool, tenant: str, classes: Sequence[str], since_run: str | None) -> int:
    """Count the frames whose newest usable label is not in a run's dataset; without a run, all."""
    return int(await pool.fetchval(COUNT_NEW, tenant, list(classes), since_run))


async def take(pool: Pool, tenant: str, classes: Sequence[str], *, limit: int) -> list[Label]:
    """Return the newest usable label of each frame, at most `limit` of them, the newest."""
    return [_label(row) for row in await pool.fetch(TAKE, tenant, list(classes), limit)]


async def of_run(pool: Pool, tenant: str, run_id: str) -> list[Label]:
    """Return the labels a run was opened with, though newer versions may be there by now."""
    return [_label(row) for row in await pool.fetch(OF_RUN, run_id, tenant)]


async def set_unusable(connection: Connection, tenant: str, label: Label, why: str) -> None:
    """Keep a label out of later datasets."""
    await connection.execute(SET_UNUSABLE, tenant, label.frame_id, label.label_version, why)


def _label(row: asyncpg.Record) -> Label:
    return Label(
        row["frame_id"],
        row["label_version"],
        ObjectRef.model_validate_json(row["picture"]),
        tuple(LabelBox.model_validate(box) for box in json.loads(row["boxes"])),
        row["boxes_digest"],
        row["condition"],
    )
