"""One picture goes all the way round: upload, ingest, screening, annotation, training, release, and screening again."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from roadloop_agent import read_fate
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_schemas.frames import FrameScreened, Verdict
from roadloop_schemas.models import ModelServing, TrainingChanged, TrainingState
from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.actors.annotation_errors import CAREFUL
from roadloop_world.actors.annotators import label_tasks
from roadloop_world.actors.subscriber import count_duplicates, read_topic
from roadloop_world.rendering.datasets import HARD_MIX, plan_drives
from tests.waiting import GUARD_S, LONG_TEST_S, TRAINING_S, eventually, last_line

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LONG_TEST_S)]

TENANT = "demo"
DRIVES, FRAMES_PER_DRIVE = 38, 10
TRAINING = tenant_setup.Training(
    min_labels=150,
    steps=100,
    min_gain=0.05,
    label_weight=2,
    base_frames=300,
    validation_frames=20,
)
# Half of all frames is kept, by lot: this test is about the way, not about the choice.
POLICY = '{"threshold": 1.0, "audit_share": 0.5}'


@pytest.fixture
def whole_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("loop")
    try:
        yield local.up(data)
    finally:
        local.down(data, purge=True)


@pytest.fixture
async def http(whole_stack: Stack) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    names = ("ingest", "label-router")
    clients = {n: httpx.AsyncClient(base_url=f"http://{whole_stack.address(n)}", timeout=GUARD_S) for n in names}
    clients["view"] = httpx.AsyncClient(base_url=f"http://{whole_stack.health_address('screen-view')}", timeout=GUARD_S)
    yield clients
    for client in clients.values():
        await client.aclose()


async def upload_drives(
    stack: Stack, client: httpx.AsyncClient, vehicles: list[fleet.Vehicle], truth: fleet.Truth, seed: int, drives: int
) -> list[tuple[fleet.Vehicle, str]]:
    """Let the fleet drive: every third vehicle completes its uploads on Kafka itself."""
    uploads = []
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True) as producer:
        for number, plan in enumerate(plan_drives(seed, drives, HARD_MIX)):
            vehicle = vehicles[number % len(vehicles)]
            pictures = await asyncio.to_thread(fleet.take_pictures, vehicle, plan, FRAMES_PER_DRIVE, truth)
            if number % 3 == 2:
                upload_id = await fleet.upload_drive_by_kafka(client, producer, vehicle, plan, pictures)
            else:
                upload_id = await fleet.upload_drive(client, vehicle, plan, pictures)
            uploads.append((vehicle, upload_id))
    return uploads


async def books(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/v1/books")).json()
    return found


async def serving(stack: Stack) -> list[ModelServing]:
    records = await read_topic(stack.kafka_bootstrap, "models.serving.v1")
    told = [ModelServing.model_validate_json(record.value or b"") for record in records]
    return [said for said in told if said.model == f"detector.{TENANT}"]


async def serving_version(stack: Stack) -> int:
    return max((said.version for said in await serving(stack)), default=0)


async def run_states(stack: Stack) -> list[TrainingState]:
    records = await read_topic(stack.kafka_bootstrap, "trainings.changed.v1")
    return [TrainingChanged.model_validate_json(record.value or b"").state for record in records]


async def test_the_way_of_a_frame(whole_stack: Stack, http: dict[str, httpx.AsyncClient], tmp_path: Path) -> None:
    stack, ingest = whole_stack, http["ingest"]

    # An admin sets the tenant up: a model that was stopped early, a training spec, a policy, annotators, vehicles.
    await tenant_setup.seed_model(stack, TENANT, f"detector.{TENANT}", tenant_setup.DETECTORS / "v0")
    await tenant_setup.set_training(stack, TENANT, TRAINING, tmp_path)
    await tenant_setup.set_policy(stack, TENANT, POLICY)
    tokens = await tenant_setup.enrol_annotators(stack, TENANT, ["ann", "bob"])
    vehicles = await fleet.enrol(stack.postgres_dsn("ingest"), TENANT, ["car-1", "car-2", "car-3"])

    async def first_model_serves() -> bool:
        return await serving_version(stack) == 1

    await eventually("version 1 serves", first_model_serves)

    # Vehicles upload; annotators label what screening keeps; a training starts by itself and its model goes live.
    truth, stopping = fleet.Truth(), asyncio.Event()
    async with asyncio.TaskGroup() as crowd:
        for seed, token in enumerate(tokens):
            crowd.create_task(label_tasks(http["label-router"], token, truth, CAREFUL, seed=seed, stopping=stopping))
        uploads = await upload_drives(stack, ingest, vehicles, truth, 11, DRIVES)

        async def second_model_serves() -> bool:
            assert TrainingState.FAILED not in (states := await run_states(stack)), states
            assert TrainingState.REFUSED not in states, states
            return await serving_version(stack) >= 2

        async def how_far() -> tuple[object, ...]:
            trainer = last_line(stack.layout.log("trainer-trigger"))
            return await books(ingest), await run_states(stack), await serving(stack), trainer

        await eventually("version 2 serves", second_model_serves, TRAINING_S, moving=how_far)

        # The next pictures are screened by the new model.
        late = await upload_drives(stack, ingest, vehicles, truth, 12, 3)

        async def nothing_in_flight() -> bool:
            found = await books(ingest)
            announced = (DRIVES + 3) * FRAMES_PER_DRIVE
            kept = found["frames"].get("kept", 0)
            return found["announced"] == announced == sum(found["files"].values()) and (
                "open" not in found["files"] and "in_flight" not in found["frames"] and found["labelled"] == kept
            )

        await eventually(
            "every frame has its fate, every kept one its label", nothing_in_flight, moving=lambda: books(ingest)
        )
        stopping.set()

    # Conservation: what was announced is what was accounted for, and nobody saw anything twice.
    found = await books(ingest)
    assert found["balanced"]
    assert found["frames"].keys() <= {"kept", "dropped"}
    screened = await read_topic(stack.kafka_bootstrap, "frames.screened.v1")
    verdicts = [FrameScreened.model_validate_json(record.value or b"") for record in screened]
    assert len(verdicts) == len({verdict.frame_id for verdict in verdicts}) == found["ingested"]
    assert {verdict.frame_id for verdict in verdicts} <= truth.frames.keys()
    assert sum(verdict.verdict is Verdict.KEPT for verdict in verdicts) == found["frames"]["kept"]
    assert await count_duplicates(stack.kafka_bootstrap) == 0
    late_uploads = {upload_id for _, upload_id in late}
    assert {v.models.version for v in verdicts if v.models and v.upload_id in late_uploads} == {2}

    # The view, a Faust table of running counters, comes to the same figures.
    async def funnel() -> dict[str, Any]:
        total: dict[str, Any] = (await http["view"].get("/v1/funnel")).json()["total"]
        return total

    async def view_agrees() -> bool:
        total = await funnel()
        return (total["seen"], total["kept"]) == (found["ingested"], found["frames"]["kept"])

    await eventually("the view shows what was screened", view_agrees, moving=funnel)

    # The vehicle learns what became of its upload, training included.
    vehicle, upload_id = uploads[0]
    told = await read_fate(ingest, vehicle.token(), upload_id)
    assert told["announced"] == FRAMES_PER_DRIVE == told["accepted"] + told["duplicate"]
    assert found["trained"] >= TRAINING.min_labels
