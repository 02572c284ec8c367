"""The runs. Every change is one transaction: the row and its event on trainings.changed.v1."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import asyncpg

from roadloop_runtime.outbox import outbox_table
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_runtime.storage.postgres import Connection, Pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.models import TrainingChanged, TrainingState
from roadloop_schemas.topics import TRAININGS_CHANGED
from trainer_trigger.tables.label_table import Label
from trainer_trigger.tables.model_table import SOURCE
from trainer_trigger.tables.notify import wake
from trainer_trigger.tables.run import Kind, Offer, Run
from trainer_trigger.tables.spec import Spec

CHANGED = TRAININGS_CHANGED
FRAMES_PER_EVENT = 5_000  # ids of 128 characters fit into an event

INSERT = """
insert into runs (run_id, tenant, model, kind, dataset_id, base_version, labels, spec, offer, state, revision,
                  queued_at, changed_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued', $10, $11, $11) on conflict do nothing
"""
INSERT_FRAME = "insert into run_frames (run_id, frame_id, label_version) values ($1, $2, $3)"
CHANGE = """
update runs set state = $3, revision = $4, detail = $5, metrics = $6, candidate_version = $7, changed_at = $8
where run_id = $1 and revision = $2
"""
ONE = "select * from runs where run_id = $1"
OPEN = "select * from runs where state not in ('released', 'refused', 'failed') order by queued_at, run_id"
LISTED = """
select * from runs where ($1::text is null or tenant = $1) and ($2::text is null or model = $2)
order by queued_at desc, run_id limit $3
"""
LAST_GOOD = """
select run_id from runs where model = $1 and kind = 'training' and state <> 'failed' order by queued_at desc limit 1
"""
LAST_ENDED = """
select max(changed_at) from runs where model = $1 and kind = 'training' and state = any($2::text[])
"""
OPEN_TRAINING = """
select run_id from runs where model = $1 and kind = 'training' and state not in ('released', 'refused', 'failed')
"""
FAILED = "select count(*) from runs where model = $1 and kind = 'training' and dataset_id = $2 and state = 'failed'"


class RunMoved(Exception):
    """Somebody else changed this run: another runner is there, and this one must end."""


async def open_run(pool: Pool, run: Run, labels: Sequence[Label] = ()) -> bool:
    """Queue a run; return False where it is there already, or another training of its model is open."""
    frames = [label.frame_id for label in labels]
    pieces = [frames[i : i + FRAMES_PER_EVENT] for i in range(0, len(frames), FRAMES_PER_EVENT)] or [[]]
    queued = replace(run, revision=len(pieces) - 1)
    async with pool.acquire() as connection, connection.transaction():
        if await connection.execute(INSERT, *_row(queued)) != "INSERT 0 1":
            return False
        rows = [(run.run_id, label.frame_id, label.label_version) for label in labels]
        await connection.executemany(INSERT_FRAME, rows)
        told = [_event(replace(run, revision=number), piece) for number, piece in enumerate(pieces)]
        await outbox_table.append(connection, told)
        await wake(connection)
    return True


async def change(connection: Connection, old: Run, new: Run) -> Run:
    """Make `new` of `old` in the caller's transaction. Raises RunMoved where `old` is not what is there."""
    new = replace(new, revision=old.revision + 1)
    done = await connection.execute(
        CHANGE,
        *(old.run_id, old.revision, new.state.value, new.revision, new.detail, json.dumps(dict(new.metrics))),
        *(new.candidate_version, new.changed_at),
    )
    if done != "UPDATE 1":
        raise RunMoved(f"run {old.run_id} is no longer at revision {old.revision}")
    await outbox_table.append(connection, [_event(new, ())])
    return new


def _row(run: Run) -> tuple[object, ...]:
    offer = run.offer.model_dump_json() if run.offer else None
    spec = run.spec.model_dump_json()
    return (
        *(run.run_id, run.tenant, run.model, run.kind.value, run.dataset_id, run.base_version, run.labels, spec, offer),
        *(run.revision, run.queued_at),
    )


def _event(run: Run, frame_ids: Sequence[str]) -> Event:
    body = TrainingChanged(
        run_id=run.run_id,
        revision=run.revision,
        state=run.state,
        model=run.model,
        dataset_id=run.dataset_id,
        labels=run.labels,
        base_version=run.base_version,
        candidate_version=run.candidate_version,
        detail=run.detail,
        metrics=dict(run.metrics),
        frame_ids=tuple(frame_ids),
        changed_at=run.changed_at,
    )
    return to_cloud_event(
        CHANGED,
        body,
        id=derive_id("training", run.run_id, run.revision),
        source=SOURCE,
        tenant=run.tenant,
        key=run.run_id,
        time=run.changed_at,
        subject=run.model,
    )


def _run(row: asyncpg.Record) -> Run:
    return Run(
        run_id=row["run_id"],
        tenant=row["tenant"],
        model=row["model"],
        kind=Kind(row["kind"]),
        dataset_id=row["dataset_id"],
        base_version=row["base_version"],
        labels=row["labels"],
        spec=Spec.model_validate_json(row["spec"]),
        offer=Offer.model_validate_json(row["offer"]) if row["offer"] else None,
        state=TrainingState(row["state"]),
        revision=row["revision"],
        candidate_version=row["candidate_version"],
        detail=row["detail"],
        metrics=json.loads(row["metrics"]),
        queued_at=row["queued_at"],
        changed_at=row["changed_at"],
    )


async def get(pool: Pool, run_id: str) -> Run | None:
    row = await pool.fetchrow(ONE, run_id)
    return _run(row) if row else None


async def open_runs(pool: Pool) -> list[Run]:
    """Return all runs that have not ended, the oldest first."""
    return [_run(row) for row in await pool.fetch(OPEN)]


async def listed(pool: Pool, *, tenant: str | None = None, model: str | None = None, limit: int = 100) -> list[Run]:
    """Return runs, the youngest first."""
    return [_run(row) for row in await pool.fetch(LISTED, tenant, model, limit)]


async def last_good(pool: Pool, model: str) -> str | None:
    """Return the last training that did not fail: labels that are not in its dataset are new."""
    found: str | None = await pool.fetchval(LAST_GOOD, model)
    return found


async def last_ended_at(pool: Pool, model: str, states: Sequence[TrainingState]) -> datetime | None:
    """Return when the newest training of a model that is in one of some states got there."""
    ended_at: datetime | None = await pool.fetchval(LAST_ENDED, model, [state.value for state in states])
    return ended_at


async def open_training(pool: Pool, model: str) -> str | None:
    run_id: str | None = await pool.fetchval(OPEN_TRAINING, model)
    return run_id


async def failed_on(pool: Pool, model: str, dataset_id: str) -> int:
    """Count the trainings that failed on the very same data."""
    return int(await pool.fetchval(FAILED, model, dataset_id))
