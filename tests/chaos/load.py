"""Work for the stack: cars that upload by HTTP and by Kafka, people who label, trainings that start by themselves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from roadloop_local.addresses import Stack
from roadloop_schemas.models import ModelServing
from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.actors.subscriber import read_topic
from roadloop_world.rendering.datasets import FLEET_MIX, DrivePlan, plan_drives
from tests.load import label_for_ever, read_books
from tests.waiting import eventually

TENANT = "chaos"
CARS, PEOPLE, FRAMES_PER_DRIVE = 3, 2, 6
POLICY = '{"threshold": 1.0, "audit_share": 0.5}'
ANSWER_S = 60.0  # who has no answer by then asks again, as a car does
TRAINING = tenant_setup.Training(
    min_labels=60, steps=10, min_gain=-1, label_weight=1, base_frames=24, validation_frames=2
)


@dataclass
class Load:
    """The world around a stack. `sent` counts the frames that were uploaded so far."""

    stack: Stack
    ingest: httpx.AsyncClient
    desk: httpx.AsyncClient
    cars: list[fleet.Vehicle]
    plans: Iterator[DrivePlan]
    truth: fleet.Truth = field(default_factory=fleet.Truth)
    sent: int = 0

    async def upload(self, drives: int) -> None:
        """Upload so many drives, each car its own, every other one completed on Kafka by the car itself."""
        plans = [next(self.plans) for _ in range(drives)]
        async with asyncio.TaskGroup() as group:
            for number, car in enumerate(self.cars):
                group.create_task(self._drive(car, plans[number :: len(self.cars)]))

    async def _drive(self, car: fleet.Vehicle, plans: list[DrivePlan]) -> None:
        for number, plan in enumerate(plans):
            pictures = await asyncio.to_thread(fleet.take_pictures, car, plan, FRAMES_PER_DRIVE, self.truth)
            await self._until_taken(car, plan, pictures, by_kafka=number % 2 == 1)
            self.sent += len(pictures)

    async def _until_taken(self, car: fleet.Vehicle, plan: DrivePlan, pictures: list[Any], *, by_kafka: bool) -> None:
        """Upload as an agent does that keeps its pictures until it knows that they are there: again and again."""
        while True:
            try:
                if by_kafka:
                    await self._by_kafka(car, plan, pictures)
                else:
                    await fleet.upload_drive(self.ingest, car, plan, pictures)
            except (httpx.HTTPError, KafkaError, TimeoutError):
                await asyncio.sleep(0.5)
            else:
                return

    async def _by_kafka(self, car: fleet.Vehicle, plan: DrivePlan, pictures: list[Any]) -> None:
        async with asyncio.timeout(ANSWER_S):
            async with AIOKafkaProducer(
                bootstrap_servers=self.stack.kafka_bootstrap, enable_idempotence=True
            ) as producer:
                await fleet.upload_drive_by_kafka(self.ingest, producer, car, plan, pictures)

    async def books(self) -> dict[str, Any]:
        """Return the books; none while ingest or its database is away."""
        return await read_books(self.ingest)

    async def is_settled(self) -> bool:
        """Say whether all that was sent is known, screened, and labelled where it was kept."""
        found = await self.books()
        if not found or "open" in found["files"] or "in_flight" in found["frames"]:
            return False
        return bool(found["announced"] == self.sent and found["labelled"] == found["frames"].get("kept", 0))


async def serves(stack: Stack) -> bool:
    records = await read_topic(stack.kafka_bootstrap, "models.serving.v1")
    return any(ModelServing.model_validate_json(record.value or b"{}").model.endswith(TENANT) for record in records)


@asynccontextmanager
async def under_load(stack: Stack, folder: Path, *, cars: int = CARS) -> AsyncIterator[Load]:
    """Set a tenant up, with people at work; who comes in here says when cars drive."""
    await tenant_setup.seed_model(stack, TENANT, f"detector.{TENANT}", tenant_setup.DETECTORS / "v1")
    await tenant_setup.set_training(stack, TENANT, TRAINING, folder)
    await tenant_setup.set_policy(stack, TENANT, POLICY)
    tokens = await tenant_setup.enrol_annotators(stack, TENANT, [f"person-{n}" for n in range(PEOPLE)])
    fleet_of = await fleet.enrol(stack.postgres_dsn("ingest"), TENANT, [f"car-{n}" for n in range(cars)])
    await eventually("the model serves", lambda: serves(stack))
    async with (
        httpx.AsyncClient(base_url=f"http://{stack.address('ingest')}", timeout=ANSWER_S) as ingest,
        httpx.AsyncClient(base_url=f"http://{stack.address('label-router')}", timeout=ANSWER_S) as desk,
        asyncio.TaskGroup() as group,
    ):
        load = Load(stack, ingest, desk, fleet_of, iter(plan_drives(11, 5_000, FLEET_MIX)))
        people = [group.create_task(label_for_ever(desk, token, load.truth, seed)) for seed, token in enumerate(tokens)]
        yield load
        for person in people:
            person.cancel()
