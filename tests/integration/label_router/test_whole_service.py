"""The service as a process, on Kafka, Postgres and S3: from a kept frame to its label."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from label_router.completion import COMPLETED
from label_router.handle import REQUESTED
from roadloop_local.addresses import Stack
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition
from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.frames import FrameScreened, Verdict, VerdictReason
from tests.builders import make_event
from tests.waiting import GUARD_S, eventually

from .conftest import CAR, roadloop, screened

pytestmark = pytest.mark.integration


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@dataclass
class Running:
    """The service as a process."""

    process: "subprocess.Popen[bytes]"
    http: str
    health: str

    async def ready(self) -> bool:
        assert self.process.poll() is None, "the service ended"
        async with httpx.AsyncClient(timeout=GUARD_S) as client:
            try:
                return (await client.get(f"{self.health}/readyz")).status_code == 200
            except httpx.TransportError:
                return False


@pytest.fixture
async def running(stack: Stack, dsn: str, tmp_path: Path) -> AsyncIterator[Running]:
    await admin.ensure_topics(stack.kafka_bootstrap)
    access_key, secret_key = stack.s3_keys("label-router")
    http, health = free_port(), free_port()
    env = os.environ | {
        "ROADLOOP_MEMBER": f"label-router-{secrets.token_hex(4)}",
        "ROADLOOP_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "ROADLOOP_POSTGRES_DSN": dsn,
        "ROADLOOP_S3_ENDPOINT": stack.s3_endpoint,
        "ROADLOOP_S3_ACCESS_KEY": access_key,
        "ROADLOOP_S3_SECRET_KEY": secret_key,
        "ROADLOOP_HTTP_PORT": str(http),
        "ROADLOOP_HEALTH_PORT": str(health),
    }
    log = tmp_path / "label-router.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "label_router"], env=env, stdout=out, stderr=out)
    running = Running(process, f"http://127.0.0.1:{http}", f"http://127.0.0.1:{health}")
    try:
        await eventually("ready", running.ready)
        yield running
    finally:
        process.kill()
        process.wait()
        print(log.read_text())


async def publish(stack: Stack, tenant: str, *verdicts: FrameScreened) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True)
    await producer.start()
    for verdict in verdicts:
        written = make_event(verdict, id=derive_id(tenant, verdict.frame_id), tenant=tenant)
        await producer.send_and_wait(written.topic, written.value, written.key, headers=list(written.headers))
    await producer.stop()


async def announced(stack: Stack, topic: str, tenant: str) -> list[dict[str, Any]]:
    """Return what a read_committed reader sees of a tenant."""
    partitions = [await read_partition(stack.kafka_bootstrap, Partition(topic, number)) for number in range(3)]
    mine = [r for records in partitions for r in records if dict(r.headers).get("ce_tenant") == tenant.encode()]
    return sorted((json.loads(record.value or b"") for record in mine), key=lambda body: str(body["frame_id"]))


async def test_the_service_takes_a_kept_frame_to_its_label(stack: Stack, dsn: str, running: Running) -> None:
    tenant = f"t-{secrets.token_hex(6)}"
    picture = await open_store(stack.s3_endpoint, *stack.s3_keys("ingest")).put(
        "uploads", f"{tenant}/f-1.jpg", b"a picture", "image/jpeg"
    )
    dropped = screened("f-0", verdict=Verdict.DROPPED, reasons=(VerdictReason.BELOW_THRESHOLD,))
    await publish(stack, tenant, dropped, screened("f-1", picture=picture), screened("f-2", audit=True))
    token = (await asyncio.to_thread(roadloop, dsn, "annotators", "enrol", "--tenant", tenant, "--name", "Ann")).stdout
    headers = {"Authorization": f"Bearer {token.strip()}"}
    async with httpx.AsyncClient(base_url=running.http, headers=headers, timeout=GUARD_S) as client:

        async def both_wait() -> bool:
            found: dict[str, Any] = (await client.get("/v1/queue")).json()
            return bool(found["waiting"] == 2)

        await eventually("two tasks", both_wait)
        task = (await client.post("/v1/tasks/next")).json()
        assert (await client.get(task["picture_url"], headers={"Authorization": ""})).content == b"a picture"
        body = {"lease_id": task["lease_id"], "boxes": [CAR], "lead_time_s": 4}
        assert (await client.post(f"/v1/tasks/{task['task_id']}/submit", json=body)).status_code == 200

    async def is_published() -> bool:
        return bool(await announced(stack, COMPLETED, tenant))

    await eventually("a published label", is_published)
    requests = await announced(stack, REQUESTED, tenant)
    assert [(r["frame_id"], r["audit"], len(r["prelabels"])) for r in requests] == [("f-1", False, 1), ("f-2", True, 0)]
    (label,) = await announced(stack, COMPLETED, tenant)
    assert (label["task_id"], label["boxes"]) == (task["task_id"], [CAR])
    running.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(running.process.wait, GUARD_S) == 0
