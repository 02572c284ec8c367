"""A runner on real servers, with a database and a tenant of its own, sets to train on, and trainers to train with."""

import asyncio
import hashlib
import io
import json
import sys
import uuid
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from roadloop_local.addresses import Stack
from roadloop_runtime.storage.migrations import upgrade
from roadloop_runtime.storage.objects import ObjectStore, open_store
from roadloop_runtime.storage.postgres import Pool, open_pool
from roadloop_schemas.fields import Condition, ObjectRef
from roadloop_schemas.labels import LabelCompleted
from roadloop_schemas.models import Candidate, ModelReleased, ServingState
from roadloop_world.rendering.datasets import (
    LabelledFrame,
    render_base_training_set,
    render_hard_frames,
    render_validation_set,
    write_split,
)
from tests.builders import NOW, make_event, make_label, make_label_box, make_serving, read_back
from trainer_trigger.handle import Dependencies
from trainer_trigger.tables import label_table, run_table, serving_table, spec_table
from trainer_trigger.tables.label_table import Completed
from trainer_trigger.tables.run import Run
from trainer_trigger.tables.spec import GatePolicy, Spec
from trainer_trigger.training import release
from trainer_trigger.training.candidate import Workshop
from trainer_trigger.training.object_cache import ObjectCache
from trainer_trigger.training.release import read_card
from trainer_trigger.training.trainer_process import Trainer

ROOT = Path(__file__).parents[3]
TRAINER_PATH = ROOT / "services/trainer-trigger/trainer"
TRAINER = Trainer(ROOT / ".venvs/trainer/bin/python", TRAINER_PATH)
DETECTORS = ROOT / "services/trainer-trigger/detectors"
ANYTHING_GOES = GatePolicy(min_gain=-1, max_condition_loss=1)


def zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return content.getvalue()


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A small base set and a small validation set, as zips."""
    folder = tmp_path_factory.mktemp("sets")
    write_split(folder / "base", "train", render_base_training_set(32))
    write_split(folder / "validation", "validation", render_validation_set(10))
    return zipped(folder / "base"), zipped(folder / "validation")


@pytest.fixture(scope="session")
def hard() -> list[LabelledFrame]:
    return list(render_hard_frames(6, seed=77))


@dataclass(frozen=True)
class Bench:
    """A database of its own, a tenant of its own, and a runner."""

    stack: Stack
    dsn: str
    tenant: str
    needs: Dependencies
    spec: Spec

    @property
    def model(self) -> str:
        return f"detector.{self.tenant}"

    @property
    def pool(self) -> Pool:
        return self.needs.pool

    async def serve(self, detector: str) -> ModelReleased:
        """Seed a first version and say that it serves, as screening would."""
        released = await release.seed(
            self.pool,
            self.needs.store,
            "models",
            model=self.model,
            folder=DETECTORS / detector,
            second_model=f"second.{self.tenant}",
            now=NOW,
        )
        await self.pool.execute("insert into serving values ($1, 1, $2, 1)", self.model, NOW)
        return released

    async def screening_says(
        self,
        version: int,
        *,
        state: ServingState = ServingState.SERVING,
        tenant: str = "",
        previous: int | None = None,
        candidate: Candidate | None = None,
        detail: str = "",
    ) -> None:
        """Let screening say what serves, and what is on its way."""
        body = make_serving(
            version,
            model=self.model,
            state=state,
            previous_version=previous,
            candidate=candidate,
            detail=detail,
            card=read_card(DETECTORS / "v0"),
        )
        said = make_event(body, tenant=tenant or self.tenant, key=self.model)
        await serving_table.take(self.pool, read_back(said))

    async def set_spec(self, **changes: object) -> Spec:
        spec = self.spec.model_copy(update=changes)
        await spec_table.put(self.pool, self.model, spec, by="ann", now=NOW)
        return spec

    async def label(self, frames: list[LabelledFrame]) -> list[LabelCompleted]:
        """Store labels as the loop would, their pictures in S3."""
        labels = [await self.annotate(frame) for frame in frames]
        async with self.pool.acquire() as connection, connection.transaction():
            await label_table.store(connection, [Completed(self.tenant, label) for label in labels])
        return labels

    async def annotate(self, frame: LabelledFrame) -> LabelCompleted:
        uploads = open_store(self.stack.s3_endpoint, *self.stack.s3_keys("ingest"))
        picture = await uploads.put("uploads", f"{self.tenant}/{frame.name}", frame.picture, "image/jpeg")
        boxes = tuple(make_label_box(b.class_name, x1=b.x1, y1=b.y1, x2=b.x2, y2=b.y2) for b in frame.boxes)
        frame_id, condition = frame.name.removesuffix(".jpg"), Condition(frame.condition.value)
        return make_label(
            task_id=f"task-{frame_id}",
            frame_id=frame_id,
            object=picture,
            slice=condition.value,
            condition=condition,
            boxes=boxes,
        )

    def with_trainer(self, trainer: Trainer) -> Dependencies:
        return replace(self.needs, workshop=replace(self.needs.workshop, trainer=trainer))

    async def only_run(self) -> Run:
        (run,) = await run_table.listed(self.pool)
        return run

    async def told(self) -> list[tuple[str, int]]:
        """Return state and revision of every event about trainings that waits in the outbox."""
        rows = await self.pool.fetch("select value from outbox where topic = 'trainings.changed.v1' order by id")
        bodies = [json.loads(row["value"]) for row in rows]
        return [(body["state"], body["revision"]) for body in bodies]


@pytest.fixture
async def bench(stack: Stack, sets: tuple[bytes, bytes], tmp_path: Path) -> AsyncIterator[Bench]:
    name = f"trigger_{uuid.uuid4().hex[:8]}"
    tenant = name.replace("_", "-")
    connection = await asyncpg.connect(stack.postgres_dsn("postgres"))
    await connection.execute(f"create database {name}")
    dsn = stack.postgres_dsn("postgres").rpartition("/")[0] + f"/{name}"
    await asyncio.to_thread(upgrade, "trainer_trigger", dsn)
    pool = await open_pool(dsn, name="test")
    store = open_store(stack.s3_endpoint, *stack.s3_keys("trainer-trigger"))
    base, validation = [await put_set(store, tenant, content) for content in sets]
    spec = Spec(min_labels=4, base_set=base, validation_set=validation, steps=2, gate=ANYTHING_GOES)
    workshop = Workshop(tmp_path, ObjectCache(tmp_path / "objects", store.fetch), TRAINER)
    yield Bench(stack, dsn, tenant, Dependencies(pool, store, "models", workshop, lambda: datetime.now(UTC)), spec)
    await pool.close()
    await connection.execute(f"drop database {name} with (force)")
    await connection.close()


async def put_set(store: ObjectStore, tenant: str, content: bytes) -> ObjectRef:
    return await store.put(
        "datasets", f"{tenant}/{hashlib.sha256(content).hexdigest()}.zip", content, "application/zip"
    )


def write_trainer(folder: Path, program: str) -> Trainer:
    (folder / "roadloop_trainer").mkdir(parents=True)
    (folder / "roadloop_trainer/__main__.py").write_text(program)
    return Trainer(Path(sys.executable), folder)


HANGING = """
import os, pathlib, sys, time
here = pathlib.Path(__file__).parents[1]
(here / f"pid-{os.getpid()}").touch()
while not (here / "go").exists():
    time.sleep(0.05)
sys.exit("told to go")
"""
