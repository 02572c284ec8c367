"""Make a release: the files under a key of their own, then the row, the run and the events in one transaction."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import asyncpg

from roadloop_runtime.storage.objects import ObjectStore
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import DetectorCard, ModelReleased, PrelabelPolicy, TrainingState
from trainer_trigger.refusals import AlreadyReleased, BadFolder, NothingToRollBack
from trainer_trigger.tables import model_table, run_table, serving_table
from trainer_trigger.tables.run import Run

BINARY = "application/octet-stream"
PRELABELS = PrelabelPolicy()


@dataclass(frozen=True, slots=True)
class Files:
    """A model's files where they will stay."""

    weights: ObjectRef
    checkpoint: ObjectRef | None
    card: DetectorCard


def read_card(folder: Path) -> DetectorCard:
    """Read a model folder's card; raises BadFolder where the folder is no model."""
    for name in ("model.onnx", "detector.json"):
        if not (folder / name).is_file():
            raise BadFolder(
                f"{folder / name} is not there: a model folder has model.onnx, detector.json, checkpoint.npz"
            )
    try:
        return DetectorCard.model_validate_json((folder / "detector.json").read_bytes())
    except ValueError as error:
        raise BadFolder(f"{folder / 'detector.json'} is no detector card: {error}") from error


async def upload(store: ObjectStore, bucket: str, place: str, folder: Path) -> Files:
    """Write a model folder under `place`; the key holds the content's digest, so it never means anything else."""
    card = read_card(folder)
    weights = await _put(store, bucket, place, folder / "model.onnx")
    checkpoint = folder / "checkpoint.npz"
    return Files(weights, await _put(store, bucket, place, checkpoint) if checkpoint.is_file() else None, card)


async def _put(store: ObjectStore, bucket: str, place: str, path: Path) -> ObjectRef:
    content = await asyncio.to_thread(path.read_bytes)
    digest = hashlib.sha256(content).hexdigest()[:16]
    return await store.put(bucket, f"{place}/{digest}/{path.name}", content, BINARY)


async def seed(
    pool: Pool,
    store: ObjectStore,
    bucket: str,
    *,
    model: str,
    folder: Path,
    second_model: str | None,
    now: datetime,
    prelabels: PrelabelPolicy = PRELABELS,
) -> ModelReleased:
    """Release version 1 without a gate: there is nothing to compare it with. Raises AlreadyReleased or BadFolder."""
    refused = f"{model} has a version already: offer the folder instead, it must pass the gate (roadloop models offer)"
    if await model_table.last_version(pool, model):
        raise AlreadyReleased(refused)
    files = await upload(store, bucket, _place(model, 1), folder)
    release = ModelReleased(
        release_id=derive_id("release", model, 1),
        model=model,
        version=1,
        weights=files.weights,
        checkpoint=files.checkpoint,
        card=files.card,
        prelabels=prelabels,
        second_model=second_model,
        released_at=now,
    )
    try:
        async with pool.acquire() as connection, connection.transaction():
            await model_table.insert(connection, release)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyReleased(refused) from error
    return release


async def release(
    pool: Pool, store: ObjectStore, bucket: str, *, run: Run, serving: ModelReleased, folder: Path, now: datetime
) -> Run:
    """Release a run's candidate in place of what serves; pre-label policy and second model stay."""
    version = await model_table.last_version(pool, run.model) + 1
    files = await upload(store, bucket, _place(run.model, version), folder)
    released = ModelReleased(
        release_id=derive_id("release", run.model, version),
        model=run.model,
        version=version,
        previous_version=serving.version,
        weights=files.weights,
        checkpoint=files.checkpoint,
        card=files.card,
        prelabels=serving.prelabels,
        second_model=serving.second_model,
        run_id=run.run_id,
        metrics=dict(run.metrics),
        released_at=now,
    )
    async with pool.acquire() as connection, connection.transaction():
        await model_table.insert(connection, released)
        ended = replace(run, state=TrainingState.RELEASED, candidate_version=version, changed_at=now)
        return await run_table.change(connection, run, ended)


async def roll_back(pool: Pool, model: str, *, to: int | None, now: datetime) -> ModelReleased:
    """Release an older version again, with all that was released with it.

    Without `to`, a version that is on its way is taken back, or else the one that served before comes again. Raises
    NothingToRollBack.
    """
    serving = await serving_table.of_model(pool, model)
    version = to or (serving.version if serving.candidate else serving.previous)
    if version is None:
        raise NothingToRollBack(f"{model} has no version that served before: name one with --to (roadloop models list)")
    if version == serving.version and not serving.candidate:
        raise NothingToRollBack(f"version {version} of {model} serves already, and none is on its way")
    release = await model_table.get(pool, model, version)
    if release is None:
        raise NothingToRollBack(f"{model} has no version {version} (roadloop models list --all)")
    instead_of = serving.candidate if version == serving.version else serving.version
    mark = derive_id("rollback", model, serving.version, version, now.isoformat())
    again = {"release_id": mark, "previous_version": instead_of, "released_at": now, "rollback": True}
    released = release.model_copy(update=again)
    async with pool.acquire() as connection, connection.transaction():
        await model_table.roll_back(connection, released)
    return released


def _place(model: str, version: int) -> str:
    return f"{model_table.tenant_of(model)}/{model}/{version}"


def offered_folder(folder: Path, card: DetectorCard, files: Mapping[str, Path]) -> Path:
    """Lay an offered model's files out as a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(path.resolve())
    (folder / "detector.json").write_text(json.dumps(card.model_dump()))
    return folder
