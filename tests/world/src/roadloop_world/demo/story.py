"""The story of a round: drive, be screened and labelled, train, release, and drive on with the new model."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from roadloop_local.addresses import Stack
from roadloop_schemas.models import TrainingState
from roadloop_world.actors import fleet, real_pictures, tenant_setup
from roadloop_world.actors.annotation_errors import CAREFUL, EXPERT, HASTY
from roadloop_world.actors.annotators import label_tasks
from roadloop_world.actors.planned_drives import PlannedDrives
from roadloop_world.demo import figures, follow
from roadloop_world.demo.prepare import (
    DETECTOR,
    calibrate,
    enrol_annotators,
    enrol_vehicles,
    set_policy,
    set_up,
    teach_and_offer,
)
from roadloop_world.demo.round import ROLLOUT, SCREENING, TENANT, TRAINER, Round, open_round, wait_until_screened
from roadloop_world.demo.show import Show
from roadloop_world.rendering.datasets import WINTER_MIX, DrivePlan

STREET = "street"
DRIVE_FRAMES = 20
WARM_UP_DRIVES = 10
ROLLOUT_DRIVES = 80  # are kept for the new model: 50 while it is tried, the rest when it serves
LAST_DRIVES = 25
IN_FLIGHT_AT_MOST = 400


async def drive(this: Round, drives: int) -> None:
    """Upload so many drives, every fourth completed on Kafka by the agent itself; never more in flight than is good."""
    for _ in range(drives):
        plan, vehicle, pictures = await this.drives.take()
        if this.drives.left % 4 == 0:
            await fleet.upload_drive_by_kafka(this.ingest, this.producer, vehicle, plan, pictures)
        else:
            await fleet.upload_drive(this.ingest, vehicle, plan, pictures)
        this.frames += len(pictures)
        await wait_until_screened(this, "screening keeps up", IN_FLIGHT_AT_MOST)


async def loop_once(this: Round) -> None:
    """Warm up, calibrate, drive until a training ends, drive on until its model is live, then drive the rest."""
    await drive(this, WARM_UP_DRIVES)
    await wait_until_screened(this, "the warm-up is screened", 0)
    await calibrate(this, TENANT, 1)
    await drive_until_trained(this)
    if this.state.list_ended_runs(offered=False)[0].state is TrainingState.RELEASED:
        await drive_until_it_serves(this)
    await drive(this, this.drives.left)
    is_judged = "the worse model is judged"
    await this.watch.wait_until(is_judged, lambda: bool(this.state.list_ended_runs(offered=True)), look_at=TRAINER)


async def drive_until_trained(this: Round) -> None:
    """Drive until the training that the labels start has ended.

    Some drives are kept for the new model, unless no training has begun though all that was kept is labelled.
    """

    def has_ended() -> bool:
        return bool(this.state.list_ended_runs(offered=False))

    def wants_labels() -> bool:
        return bool(this.drives.left) and not this.state.list_newest_runs(offered=False) and this.is_settled()

    while not has_ended():
        if this.drives.left > ROLLOUT_DRIVES or wants_labels():
            await drive(this, 1)
        else:
            awaited = "the training that the labels start has ended"
            await this.watch.wait_until(awaited, lambda: has_ended() or wants_labels(), look_at=TRAINER)


async def drive_until_it_serves(this: Round) -> None:
    """Drive while version 2, which passed its gate, is tried on live frames; keep some drives for when it serves."""

    def is_answered() -> bool:
        return this.state.serving_version_of(DETECTOR) >= 2 or bool(this.state.refused_releases)

    while not is_answered():
        if this.drives.left > LAST_DRIVES:
            await drive(this, 1)
        else:
            await this.watch.wait_until("screening takes version 2", is_answered, look_at=ROLLOUT)
    if this.state.serving_version_of(DETECTOR) >= 2:
        this.show.say("version 2 screens from now on", "green")
        await calibrate(this, TENANT, 2)


async def add_second_tenant(this: Round, folder: Path) -> None:
    """Real pictures come in from another tenant, whose model is NanoDet."""
    await tenant_setup.seed_model(this.stack, STREET, f"detector.{STREET}", tenant_setup.DETECTORS / "nanodet-g-coco")
    await set_policy(this, STREET, 0.5)
    await this.watch.wait_until(
        "NanoDet serves", lambda: this.state.serving_version_of(f"detector.{STREET}") >= 1, look_at=ROLLOUT
    )
    (vehicle,) = await fleet.enrol(this.stack.postgres_dsn("ingest"), STREET, ["dashcam-1"])
    pictures = await asyncio.to_thread(lambda: list(real_pictures.read_pictures(folder)))
    this.show.say(f"{STREET}: {len(pictures)} real pictures and clip frames from {folder}")
    for number, batch in enumerate(real_pictures.split_batches(pictures, 16)):
        for picture in batch:
            this.show.truth.pictures[fleet.derive_frame_id(vehicle, picture.content)] = picture.content
        await fleet.upload_drive(this.ingest, vehicle, DrivePlan(number, next(iter(WINTER_MIX))), batch)
        this.frames += len(batch)
        if number == 1:
            await wait_until_screened(this, "the first pictures are screened", 0)
            await calibrate(this, STREET, 1)


async def run(stack: Stack, show: Show, plans: list[DrivePlan], *, again: bool) -> None:
    """Run the demo on a running stack, as long as anything moves."""
    drives = PlannedDrives(plans, DRIVE_FRAMES)
    async with open_round(stack, show, drives) as this, asyncio.TaskGroup() as onlookers:
        tasks = [
            onlookers.create_task(follow.follow_topics(stack.kafka_bootstrap, this.watch, show.tell)),
            onlookers.create_task(follow.follow_books(this.ingest, this.watch)),
            onlookers.create_task(follow.follow_trainings(stack.data / "logs" / "trainer-trigger.log", this.watch)),
            onlookers.create_task(show.refresh()),
        ]
        vehicles = await enrol_vehicles(this)
        tasks.append(onlookers.create_task(drives.render(vehicles, show.truth)))
        await (go_on(this) if again else begin(this))
        show.answers = await figures.ask_at_the_end(stack)
        for task in tasks:
            task.cancel()


async def begin(this: Round) -> None:
    """Show one whole round, on a stack that has seen nothing yet."""
    tokens = await set_up(this)
    async with let_people_label(this, tokens), asyncio.TaskGroup() as group:
        group.create_task(teach_and_offer(this, this.show.folder / "sets"))
        await loop_once(this)
        if folder := os.environ.get("ROADLOOP_PICTURES"):
            await add_second_tenant(this, Path(folder))


async def go_on(this: Round) -> None:
    """Drive on from where an earlier demo ended; a training may or may not fall due."""
    await follow.read_books(this.ingest, this.watch)
    this.announced_before = this.state.books["announced"]
    ingested = this.state.books["ingested"]
    await this.watch.wait_until(
        "what came before is read", lambda: len(this.state.verdicts) >= ingested, look_at=SCREENING
    )
    this.verdicts_before = len(this.state.verdicts)
    async with let_people_label(this, await enrol_annotators(this)):
        await drive(this, this.drives.left)


@asynccontextmanager
async def let_people_label(this: Round, tokens: list[str]) -> AsyncIterator[None]:
    """Let people label until everything is settled that came in meanwhile."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for seed, (token, skill) in enumerate(zip(tokens, (EXPERT, CAREFUL, HASTY), strict=True)):
            group.create_task(label_tasks(this.desk, token, this.show.truth, skill, seed=seed, stopping=stopping))
        yield
        await this.watch.wait_until("everything in flight is settled", this.is_settled, look_at=SCREENING)
        stopping.set()
