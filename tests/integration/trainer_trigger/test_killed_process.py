"""The service as a process that is killed while it trains."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from aiokafka import AIOKafkaProducer

from roadloop_local.ports import choose_ports
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition
from roadloop_schemas.labels import LabelCompleted
from roadloop_schemas.models import TrainingState
from roadloop_world.rendering.datasets import LabelledFrame
from tests.builders import make_event
from tests.waiting import GUARD_S, eventually
from trainer_trigger.training.trainer_process import Trainer

from .conftest import HANGING, Bench, write_trainer

pytestmark = pytest.mark.integration


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
            event_id = f"{bench.tenant}-{label.frame_id}"
            written = make_event(label, id=event_id, tenant=bench.tenant, key=label.frame_id)
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
        await put_labels(bench, [await bench.annotate(frame) for frame in hard])
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
