"""Trainings, offers and releases on real servers."""

import asyncio
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import uuid
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import asyncpg
import httpx
import psutil
import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from roadloop_local.addresses import Stack
from roadloop_local.ports import choose_ports
from roadloop_runtime.cli.root import app as root
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition, Record, to_cloud_event
from roadloop_runtime.storage.migrations import upgrade
from roadloop_runtime.storage.objects import ObjectStore, open_store
from roadloop_runtime.storage.postgres import Pool, open_pool
from roadloop_schemas.fields import Condition, LabelBox, ObjectRef
from roadloop_schemas.labels import LabelCompleted, LabelSource
from roadloop_schemas.models import Candidate, ModelReleased, ModelServing, RolloutStage, ServingState, TrainingState
from roadloop_world.rendering.datasets import (
    LabelledFrame,
    render_base_training_set,
    render_hard_frames,
    render_validation_set,
    write_split,
)
from tests.waiting import GUARD_S, eventually
from trainer_trigger import commands, open_run
from trainer_trigger.handle import Dependencies
from trainer_trigger.http import Dependencies as HttpDependencies
from trainer_trigger.http import make_app
from trainer_trigger.intake import offers
from trainer_trigger.runner import run_for_ever, take_turn
from trainer_trigger.tables import label_table, model_table, run_table, serving_table, spec_table
from trainer_trigger.tables.label_table import Completed
from trainer_trigger.tables.run import Offer, Run
from trainer_trigger.tables.serving_table import Serving
from trainer_trigger.tables.spec import INSTEAD, GatePolicy, Spec
from trainer_trigger.training import release
from trainer_trigger.training.candidate import Workshop
from trainer_trigger.training.object_cache import ObjectCache
from trainer_trigger.training.release import read_card
from trainer_trigger.training.trainer_process import Trainer

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
TRAINER_PATH = ROOT / "services/trainer-trigger/trainer"
TRAINER = Trainer(ROOT / ".venvs/trainer/bin/python", TRAINER_PATH)
DETECTORS = ROOT / "services/trainer-trigger/detectors"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
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
    """A database of its own, a tenant of its own, and what a run needs."""

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
        body = ModelServing(
            model=self.model,
            version=version,
            release_id=f"r{version}",
            state=state,
            previous_version=previous,
            candidate=candidate,
            detail=detail,
            card=read_card(DETECTORS / "v0"),
            serving_since=NOW,
        )
        topic, by = "models.serving.v1", tenant or self.tenant
        said = to_cloud_event(topic, body, id="s", source="/test", tenant=by, key=self.model, time=NOW)
        record = SimpleNamespace(offset=0, partition=0, timestamp=0, value=said.value, headers=said.headers)
        await serving_table.take(self.pool, cast(Record, record))

    async def set_spec(self, **changes: object) -> Spec:
        spec = self.spec.model_copy(update=changes)
        await spec_table.put(self.pool, self.model, spec, by="ann", now=NOW)
        return spec

    async def label(self, frames: list[LabelledFrame]) -> list[LabelCompleted]:
        """Store labels as the loop would, their pictures in S3."""
        labels = [await self._label(frame) for frame in frames]
        async with self.pool.acquire() as connection, connection.transaction():
            await label_table.store(connection, [Completed(self.tenant, label) for label in labels])
        return labels

    async def _label(self, frame: LabelledFrame) -> LabelCompleted:
        uploads = open_store(self.stack.s3_endpoint, *self.stack.s3_keys("ingest"))
        picture = await uploads.put("uploads", f"{self.tenant}/{frame.name}", frame.picture, "image/jpeg")
        boxes = tuple(LabelBox(class_name=b.class_name, x1=b.x1, y1=b.y1, x2=b.x2, y2=b.y2) for b in frame.boxes)
        return completed(frame.name.removesuffix(".jpg"), picture, boxes, Condition(frame.condition.value))

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


def completed(
    frame_id: str, picture: ObjectRef, boxes: tuple[LabelBox, ...] = (), condition: Condition = Condition.CLEAR
) -> LabelCompleted:
    return LabelCompleted(
        task_id=f"task-{frame_id}",
        frame_id=frame_id,
        upload_id="u1",
        vehicle="v1",
        drive="d1",
        object=picture,
        slice=condition.value,
        condition=condition,
        boxes=boxes,
        annotator="a1",
        source=LabelSource.CHOSEN,
        captured_at=NOW,
        completed_at=NOW,
        lead_time_s=5,
    )


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


async def test_two_runners_open_one_run_per_dataset(bench: Bench, hard: list[LabelledFrame]) -> None:
    await bench.serve("v0")
    spec = await bench.set_spec()
    labels = await bench.label(hard)
    now = NOW
    opened = await asyncio.gather(*(open_run.open_if_due(bench.pool, bench.model, spec, now=now) for _ in range(8)))
    assert sorted(opened) == [False] * 7 + [True]
    run = await bench.only_run()
    assert (run.state, run.labels, run.base_version) == (TrainingState.QUEUED, 6, 1)
    body = json.loads(await bench.pool.fetchval("select value from outbox where topic = 'trainings.changed.v1'"))
    assert set(body["frame_ids"]) == {label.frame_id for label in labels}


async def test_a_run_trains_is_measured_and_released_as_the_next_version(
    bench: Bench, hard: list[LabelledFrame]
) -> None:
    before = await bench.serve("v0")
    await bench.set_spec()
    await bench.label(hard)
    assert await take_turn(bench.needs)  # opens
    assert await take_turn(bench.needs)  # trains
    run = await bench.only_run()
    assert (run.state, run.candidate_version) == (TrainingState.RELEASED, 2), run.detail
    conditions = {c.value for c in Condition} - {"unknown"}
    assert {name.removeprefix("map50.") for name in run.metrics if name.startswith("map50.")} == conditions
    assert run.metrics["gain"] == pytest.approx(run.metrics["map50"] - run.metrics["serving.map50"], abs=1e-5)
    assert await bench.told() == [("queued", 0), ("running", 1), ("evaluated", 2), ("released", 3)]
    released = await model_table.newest(bench.pool, bench.model)
    assert released is not None
    assert (released.version, released.previous_version, released.run_id) == (2, 1, run.run_id)
    assert (released.card, released.second_model) == (before.card, f"second.{bench.tenant}")
    assert released.checkpoint is not None
    for reference in (released.weights, released.checkpoint):
        assert reference.key.startswith(f"{bench.tenant}/{bench.model}/2/")
        await bench.needs.store.fetch(reference)
    assert not await take_turn(bench.needs)  # the next run waits for screening and for new labels
    assert not (bench.needs.workshop.folder_of(run.run_id)).exists()


async def test_a_worse_model_is_refused_and_an_equal_offer_is_one_run(bench: Bench) -> None:
    await bench.serve("v1")
    await bench.set_spec(gate=GatePolicy())
    files = await release.upload(bench.needs.store, "models", f"{bench.tenant}/offers", DETECTORS / "v0")
    offer = Offer(weights=files.weights, checkpoint=files.checkpoint, card=files.card)

    async def queue() -> tuple[Run, bool]:
        return await offers.queue_offer(
            bench.pool, bench.needs.store, "models", model=bench.model, offer=offer, now=NOW
        )

    queued, is_new = await queue()
    assert is_new
    assert await take_turn(bench.needs)
    run, is_new = await queue()
    assert (run.run_id, run.state, is_new) == (queued.run_id, TrainingState.REFUSED, False)
    assert run.candidate_version is None
    assert run.detail.startswith("gain_too_small: mean mAP50 -")
    assert run.metrics["map50"] < run.metrics["serving.map50"]
    assert await model_table.last_version(bench.pool, bench.model) == 1


FAILING = """
import sys
print("a warning", file=sys.stderr)
sys.exit("train.jsonl:3: unknown class 'cow'; relabel the box")
"""


def write_trainer(folder: Path, program: str) -> Trainer:
    (folder / "roadloop_trainer").mkdir(parents=True)
    (folder / "roadloop_trainer/__main__.py").write_text(program)
    return Trainer(Path(sys.executable), folder)


async def test_a_failing_trainer_gives_its_reason_and_another_attempt_after_the_cooldown(
    bench: Bench, hard: list[LabelledFrame], tmp_path: Path
) -> None:
    await bench.serve("v0")
    spec = await bench.set_spec(cooldown_s=3600.0)
    await bench.label(hard)
    runner = bench.with_trainer(write_trainer(tmp_path / "failing", FAILING))
    assert await take_turn(runner)
    assert await take_turn(runner)
    run = await bench.only_run()
    assert (run.state, run.detail) == (TrainingState.FAILED, "train.jsonl:3: unknown class 'cow'; relabel the box")
    assert await bench.told() == [("queued", 0), ("running", 1), ("failed", 2)]
    assert not await take_turn(runner)
    later = run.changed_at + timedelta(hours=1)
    assert await open_run.open_if_due(bench.pool, bench.model, spec, now=later)
    again = (await run_table.open_runs(bench.pool))[0]
    assert (again.dataset_id, again.labels) == (run.dataset_id, run.labels)
    assert again.run_id != run.run_id


async def test_a_picture_that_changed_fails_the_run_and_is_left_out_of_the_next(
    bench: Bench, hard: list[LabelledFrame]
) -> None:
    await bench.serve("v0")
    spec = await bench.set_spec(cooldown_s=0.0)
    labels = await bench.label(hard)
    uploads = open_store(bench.stack.s3_endpoint, *bench.stack.s3_keys("ingest"))
    await uploads.put("uploads", labels[0].object.key, b"x" * labels[0].object.size_bytes, "image/jpeg")
    assert await take_turn(bench.needs)
    assert await take_turn(bench.needs)
    run = await bench.only_run()
    assert run.state is TrainingState.FAILED
    assert labels[0].frame_id in run.detail
    assert await open_run.open_if_due(bench.pool, bench.model, spec, now=datetime.now(UTC))
    assert [run.labels for run in await run_table.open_runs(bench.pool)] == [5]


async def test_of_two_runners_one_works(bench: Bench, hard: list[LabelledFrame], tmp_path: Path) -> None:
    await bench.serve("v0")
    await bench.set_spec(cooldown_s=3600.0)
    trainer = write_trainer(tmp_path / "hanging", HANGING)
    async with asyncio.TaskGroup() as group:
        runners = [group.create_task(run_for_ever(bench.with_trainer(trainer), bench.dsn)) for _ in range(2)]
        await bench.label(hard)  # wakes the one that has the lock

        async def is_training() -> bool:
            return len(list(trainer.path.glob("pid-*"))) == 1

        await eventually("a training", is_training)
        (trainer.path / "go").touch()

        async def has_failed() -> bool:
            return (await bench.only_run()).state is TrainingState.FAILED

        await eventually("the run ends", has_failed)
        assert await is_training()
        for runner in runners:
            runner.cancel()


async def test_a_refused_release_is_answered_and_leaves_the_version_before_it(bench: Bench) -> None:
    await bench.serve("v0")
    assert await open_run.unanswered_release(bench.pool, bench.model) is None
    await bench.pool.execute("insert into releases select model, 2, tenant, body, now() from releases")
    assert await open_run.unanswered_release(bench.pool, bench.model) == 2

    await bench.screening_says(2, tenant="somebody-else")
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(1, 1)
    await bench.screening_says(2, state=ServingState.REFUSED, previous=1, detail="it failed 3 of 53 live frames")
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(1, 2)
    listed = await model_table.listed(bench.pool, model=bench.model)
    assert [one.rollout for one in listed] == ["", "refused: it failed 3 of 53 live frames"]
    await bench.pool.execute("delete from serving")  # as after a restore: the topic tells it again
    await bench.screening_says(2, state=ServingState.REFUSED, previous=1)
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(1, 2)
    await bench.screening_says(3)
    assert await serving_table.of_model(bench.pool, bench.model) == Serving(3, 3)
    await bench.screening_says(
        2, state=ServingState.REFUSED, previous=1, detail="of long ago"
    )  # at a start it may come last
    listed = await model_table.listed(bench.pool, model=bench.model)
    assert [one.rollout for one in listed] == ["", "refused: of long ago"]
    await bench.screening_says(2)
    assert {one.rollout for one in await model_table.listed(bench.pool, model=bench.model)} == {""}


async def test_a_rollback_is_one_event_that_releases_the_whole_version_again(bench: Bench) -> None:
    first = await bench.serve("v0")
    with pytest.raises(release.NothingToRollBack, match="no version that served before"):
        await release.roll_back(bench.pool, bench.model, to=None, now=NOW)
    with pytest.raises(release.NothingToRollBack, match=r"version 1 of .* serves already"):
        await release.roll_back(bench.pool, bench.model, to=1, now=NOW)
    with pytest.raises(release.NothingToRollBack, match="has no version 9"):
        await release.roll_back(bench.pool, bench.model, to=9, now=NOW)

    # version 2 is on its way: what is taken back is that
    await bench.pool.execute("insert into releases select model, 2, tenant, body, now() from releases")
    tried = Candidate(version=2, release_id="r2", stage=RolloutStage.SHARED, share=0.1, card=first.card)
    await bench.screening_says(1, candidate=tried)
    (_, second) = await model_table.listed(bench.pool, model=bench.model)
    assert second.rollout == "judges 10% of units"
    taken_back = await release.roll_back(bench.pool, bench.model, to=None, now=NOW)
    assert (taken_back.version, taken_back.previous_version, taken_back.rollback) == (1, 2, True)
    assert await open_run.unanswered_release(bench.pool, bench.model) is None, "nobody waits for version 2 any more"

    # version 2 serves: what comes back is version 1, as it was released
    await bench.screening_says(2, previous=1)
    again = await release.roll_back(bench.pool, bench.model, to=None, now=NOW)
    changed = {"release_id": again.release_id, "rollback": True, "previous_version": 2, "released_at": NOW}
    assert again == first.model_copy(update=changed)
    told = await bench.pool.fetch("select value from outbox where topic = 'models.released.v1'")
    rollbacks = [body for row in told if (body := json.loads(row["value"]))["rollback"]]
    assert [body["version"] for body in rollbacks] == [1, 1]
    assert len({body["release_id"] for body in rollbacks}) == 2


# --- as a process ----------------------------------------------------------------------------------------------

HANGING = """
import os, pathlib, sys, time
here = pathlib.Path(__file__).parents[1]
(here / f"pid-{os.getpid()}").touch()
while not (here / "go").exists():
    time.sleep(0.05)
sys.exit("told to go")
"""


def start(bench: Bench, trainer: Trainer, folder: Path, *, http_port: int, health_port: int) -> subprocess.Popen[bytes]:
    access_key, secret_key = bench.stack.s3_keys("trainer-trigger")
    env = os.environ | {
        "ROADLOOP_MEMBER": bench.tenant,
        "ROADLOOP_KAFKA_BOOTSTRAP": bench.stack.kafka_bootstrap,
        "ROADLOOP_POSTGRES_DSN": bench.dsn,
        "ROADLOOP_S3_ENDPOINT": bench.stack.s3_endpoint,
        "ROADLOOP_S3_ACCESS_KEY": access_key,
        "ROADLOOP_S3_SECRET_KEY": secret_key,
        "ROADLOOP_HEALTH_PORT": str(health_port),
        "ROADLOOP_HTTP_PORT": str(http_port),
        "ROADLOOP_STATE_DIR": str(folder / "state"),
        "ROADLOOP_TRAINER_PYTHON": str(trainer.python),
        "ROADLOOP_TRAINER_PATH": str(trainer.path),
    }
    with (folder / "process.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "trainer_trigger"], env=env, stdout=log, stderr=log)


async def put_labels(bench: Bench, labels: list[LabelCompleted]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bench.stack.kafka_bootstrap) as producer:
        for label in labels:
            written = to_cloud_event(
                "labels.completed.v1",
                label,
                id=f"{bench.tenant}-{label.frame_id}",
                source="/test",
                tenant=bench.tenant,
                key=label.frame_id,
                time=NOW,
            )
            await producer.send_and_wait(written.topic, written.value, written.key, headers=list(written.headers))


@pytest.mark.crash
async def test_a_killed_process_leaves_no_training_and_resumes_the_same_run(
    bench: Bench, hard: list[LabelledFrame], tmp_path: Path
) -> None:
    await admin.ensure_topics(bench.stack.kafka_bootstrap)
    await bench.serve("v0")
    await bench.set_spec(cooldown_s=3600.0)
    trainer = write_trainer(tmp_path / "hanging", HANGING)
    http_port, health_port = choose_ports(("http", "health"), {}).values()

    def trainings() -> set[int]:
        return {int(path.name.removeprefix("pid-")) for path in trainer.path.glob("pid-*")}

    async def is_training(count: int) -> bool:
        return len(trainings()) == count

    process = start(bench, trainer, tmp_path, http_port=http_port, health_port=health_port)
    try:
        await put_labels(bench, [await bench._label(frame) for frame in hard])
        await eventually("the first training", lambda: is_training(1))
        run = await bench.only_run()
        assert run.state is TrainingState.RUNNING
        (first,) = trainings()
        process.kill()
        process.wait()

        async def is_gone() -> bool:
            return not psutil.pid_exists(first) or psutil.Process(first).status() == psutil.STATUS_ZOMBIE

        await eventually("the training of a killed process ends", is_gone)
        process = start(bench, trainer, tmp_path, http_port=http_port, health_port=health_port)
        await eventually("the second training", lambda: is_training(2))
        again = await bench.only_run()
        assert (again.run_id, again.revision) == (run.run_id, run.revision)
        (trainer.path / "go").touch()

        async def has_failed() -> bool:
            return (await bench.only_run()).state is TrainingState.FAILED

        await eventually("the run ends", has_failed)
        assert await seen_on_kafka(bench, 3) == [("queued", 0), ("running", 1), ("failed", 2)]
        async with httpx.AsyncClient(timeout=GUARD_S) as client:
            assert (await client.get(f"http://127.0.0.1:{health_port}/readyz")).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(GUARD_S) == 0
    finally:
        process.kill()
        process.wait()


async def seen_on_kafka(bench: Bench, count: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []

    async def has_come() -> bool:
        records = await read_partition(bench.stack.kafka_bootstrap, Partition("trainings.changed.v1", 0))
        bodies = [json.loads(r.value or b"") for r in records if dict(r.headers)["ce_tenant"] == bench.tenant.encode()]
        found[:] = [(body["state"], body["revision"]) for body in bodies]
        return len(found) >= count

    await eventually("events on trainings.changed.v1", has_come)
    return found


# --- HTTP and commands -----------------------------------------------------------------------------------------


def command(bench: Bench, *arguments: str) -> str:
    if not root.registered_groups or all(group.name != "specs" for group in root.registered_groups):
        commands.register(root)
    access_key, secret_key = bench.stack.s3_keys("trainer-trigger")
    env = {
        "ROADLOOP_POSTGRES_DSN": bench.dsn,
        "ROADLOOP_S3_ENDPOINT": bench.stack.s3_endpoint,
        "ROADLOOP_S3_ACCESS_KEY": access_key,
        "ROADLOOP_S3_SECRET_KEY": secret_key,
    }
    return CliRunner().invoke(root, list(arguments), env=env).output.strip()


async def test_a_researcher_puts_a_spec_and_is_told_what_is_wrong_with_it(bench: Bench) -> None:
    await bench.serve("v0")
    enrol = ("researchers", "enrol", "--tenant", bench.tenant, "--name", "ann")
    token = await asyncio.to_thread(command, bench, *enrol)
    assert "revoke it first" in await asyncio.to_thread(command, bench, *enrol)
    app = make_app(HttpDependencies(bench.pool, bench.needs.store, "datasets", "models", lambda: NOW))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    client.headers["authorization"] = f"Bearer {token}"
    async with client:
        await _check_specs(bench, client)
        shown = (await client.get(f"/v1/models/{bench.model}")).json()
        assert [(v["version"], v["serves"]) for v in shown["versions"]] == [(1, True)]
        assert (await client.get("/v1/runs")).json() == {"runs": []}
        revoke = ("researchers", "revoke", "--tenant", bench.tenant, "--name", "ann")
        assert "revoked" in await asyncio.to_thread(command, bench, *revoke)
        refused = await client.get("/v1/runs")
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthenticated")


async def _check_specs(bench: Bench, client: httpx.AsyncClient) -> None:
    good = bench.spec.model_dump(mode="json")
    base = good["base_set"]
    other = await put_set(bench.needs.store, bench.tenant, b"no zip")
    cases = [
        ({"steps": 0}, "invalid-request"),
        ({"base_set": base | {"sha256": "0" * 64}}, "object_changed"),
        ({"base_set": base | {"uri": f"s3://datasets/{bench.tenant}/nothing.zip"}}, "object_missing"),
        ({"base_set": base | {"uri": "s3://datasets/other/base.zip"}}, "foreign_object"),
        ({"base_set": other.model_dump()}, "no_zip"),
        ({"validation_set": base}, "no_lines"),
    ]
    for change, reason in cases:
        answer = await client.put(f"/v1/specs/{bench.model}", json=good | change)
        assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{reason.replace('_', '-')}"), (
            answer.text
        )
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.put("/v1/specs/detector.other", json=good)).status_code == 404
    assert (await client.get(f"/v1/specs/{bench.model}")).status_code == 404
    answer = await client.put(f"/v1/specs/{bench.model}", json=good)
    assert (answer.json(), answer.headers.get("warning")) == (good, None)
    assert (await client.get(f"/v1/specs/{bench.model}")).json() == good
    older = {name: value for name, value in good.items() if name not in ("patience", "hang_after_s")}
    answer = await client.put(f"/v1/specs/{bench.model}", json=older | {"max_seconds": 900})
    assert answer.json() == good | {"hang_after_s": 900}
    assert answer.headers["warning"].startswith('299 - "max_seconds: seconds end no training any more')


async def test_a_spec_that_an_older_version_stored_is_renewed_once_and_means_a_guard(bench: Bench) -> None:
    await bench.serve("v0")
    spec = await bench.set_spec()
    older = json.loads(spec.model_dump_json()) | {"max_seconds": 60.0}
    del older["hang_after_s"], older["patience"]
    await bench.pool.execute("update specs set body = $2 where model = $1", bench.model, json.dumps(older))
    before = await spec_table.get(bench.pool, bench.model)
    assert before is not None
    assert before.model_dump() == spec.model_dump(), "it counts before it is renewed, too"
    assert await spec_table.renew(bench.pool) == [bench.model]
    assert await spec_table.renew(bench.pool) == []
    assert json.loads(await bench.pool.fetchval("select body from specs")) == json.loads(spec.model_dump_json())


async def test_the_commands_seed_once_set_a_spec_and_list(
    bench: Bench, sets: tuple[bytes, bytes], tmp_path: Path
) -> None:
    names = ("--tenant", bench.tenant, "--model", bench.model)
    seed = ("models", "seed", *names, "--folder", str(DETECTORS / "v0"))
    assert await asyncio.to_thread(command, bench, *seed) == f"released {bench.model} version 1"
    assert "offer the folder instead" in await asyncio.to_thread(command, bench, *seed)
    for name, content in zip(("base.zip", "validation.zip"), sets, strict=True):
        (tmp_path / name).write_bytes(content)
    paths = ("--base-set", str(tmp_path / "base.zip"), "--validation-set", str(tmp_path / "validation.zip"))
    effort = ("--min-labels", "10", "--steps", "5", "--max-seconds", "60")  # as older scripts have it
    said = await asyncio.to_thread(command, bench, "specs", "set", *names, *paths, *effort)
    assert said.splitlines() == [
        f"{bench.model} trains from 10 new labels on",
        f"--max-seconds: {INSTEAD}",
    ]
    listed = json.loads(await asyncio.to_thread(command, bench, "models", "list", "--all", "--json"))
    assert [(item["model"], item["version"], item["serves"]) for item in listed] == [(bench.model, 1, False)]
    assert json.loads(await asyncio.to_thread(command, bench, "runs", "list", "--json")) == []
