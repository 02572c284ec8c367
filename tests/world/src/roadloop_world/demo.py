"""The main job, for somebody who wants to see it: `python -m roadloop_world.demo`.

A fleet drives, uploads, is screened and labelled; a worse model is offered and refused; a model is trained, passes its
gate, is tried on live frames and screens the rest; the books balance. Real servers, real services, a rendered world.
Nothing is decided by how long it takes: the demo waits as long as anything moves.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from aiokafka import AIOKafkaProducer

from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.errors import StackError
from roadloop_schemas.models import TrainingState
from roadloop_world import figures, fleet, follow, stage, street
from roadloop_world.annotators import work
from roadloop_world.crowd import CAREFUL, EXPERT, HASTY
from roadloop_world.datasets import WINTER_MIX, DrivePlan
from roadloop_world.datasets import fleet as plan_drives
from roadloop_world.loop_state import LoopState
from roadloop_world.planned_drives import PlannedDrives
from roadloop_world.show import Show
from roadloop_world.watch import StoodStill, Watch

TENANT, STREET = "demo", "street"
DETECTOR = f"detector.{TENANT}"
# A salt of each stack's own would draw another audit, train another model, and now and then none that passes the gate.
SAME_AUDIT = {"ROADLOOP_AUDIT_SALT": "the same in every demo"}
KEEP, AUDIT = 0.10, 0.01
DRIVE_FRAMES = 20
WARM_UP_DRIVES = 10
ROLLOUT_DRIVES = 80  # are kept for the new model: 50 while it is tried, the rest when it serves
LAST_DRIVES = 25
IN_FLIGHT_AT_MOST = 400
TRAINING = stage.Training(
    min_labels=180,
    steps=100,
    min_gain=0.05,
    max_condition_loss=0.05,  # 50 frames a condition do not tell 3 points from none: of 12 recipes one lost 3.2
    label_weight=0.3,  # few labels are in clear weather: with 3 they cost up to 2.7 points there
    base_frames=800,
    validation_frames=50,
)
# where a person looks who waits for it
SCREENING = "`roadloop lag`, `roadloop logs screen`"
ROLLOUT = "`roadloop models list`, `roadloop logs screen-rollout`"
TRAINER = "`roadloop runs list`, `roadloop logs trainer-trigger`"


class CannotBegin(Exception):
    """The demo cannot do what was asked for; the text says why and what to do."""


EXPECTED = (StackError, StoodStill, CannotBegin, stage.CommandFailed, KeyboardInterrupt)


@dataclass
class Round:
    """What the demo has in its hands while it runs."""

    stack: Stack
    show: Show
    watch: Watch
    ingest: httpx.AsyncClient
    desk: httpx.AsyncClient
    producer: AIOKafkaProducer
    drives: PlannedDrives
    frames: int = 0  # that were sent
    verdicts_before: int = 0
    announced_before: int = 0

    @property
    def state(self) -> LoopState:
        return self.show.state

    @property
    def in_flight(self) -> int:
        """How many frames of this round have no verdict yet; the books know of those that never get one."""
        return min(self.frames - (len(self.state.verdicts) - self.verdicts_before), self.state.in_flight)

    def is_settled(self) -> bool:
        """Whether every frame has its fate, and every kept one of the rendered fleet its label."""
        kept = sum(f.tenant == TENANT and f.verdict.verdict == "kept" for f in self.state.verdicts)
        known = self.state.books.get("announced", 0) >= self.announced_before + self.frames
        return known and self.state.in_flight == 0 and self.state.books["labelled"] >= kept


async def set_up(this: Round) -> list[str]:
    """Seed two models, a policy, vehicles and annotators; return the annotators' tokens once version 1 serves."""
    this.show.say("seeding detector v1 (trained on clear scenes only) and a second one of another architecture")
    async with asyncio.TaskGroup() as group:
        group.create_task(_seed_models(this))
        group.create_task(set_policy(this, TENANT, 1.0))
        people = group.create_task(enrol_annotators(this))
    await this.watch.until("detector v1 serves", lambda: this.state.serving(DETECTOR) >= 1, look_at=ROLLOUT)
    return people.result()


async def _seed_models(this: Round) -> None:
    """Release the second model, then the one that names it: releases are looked at in this order."""
    second = f"second.{TENANT}"
    await stage.seed_model(this.stack, TENANT, second, stage.DETECTORS / "second")
    await stage.seed_model(this.stack, TENANT, DETECTOR, stage.DETECTORS / "v1", second=second)


async def enrol_vehicles(this: Round) -> list[fleet.Vehicle]:
    """Enrol vehicles with fresh keys."""
    names = [f"car-{number}" for number in range(1, 9)]
    return await fleet.enrol(this.stack.postgres_dsn("ingest"), TENANT, names)


async def enrol_annotators(this: Round) -> list[str]:
    """Enrol annotators; return their fresh tokens."""
    return await stage.enrol_annotators(this.stack, TENANT, ["ann", "bob", "eve"])


async def set_policy(this: Round, tenant: str, threshold: float) -> None:
    policy = {
        "threshold": round(threshold, 4),
        "audit_share": AUDIT,
        "controlled": True,
        "shared": True,
        "keep_budget": KEEP,
        "slice_range": [0.02, 0.7],
        "min_laplacian_variance": 25 if tenant == TENANT else 5,
        "brightness": [0.05, 0.8],
        "duplicate_distance": 4,
        "duplicate_step": 0.6,
    }
    await stage.set_policy(this.stack, tenant, json.dumps(policy))


async def calibrate(this: Round, tenant: str, version: int) -> None:
    """Set the threshold so that the budget would have been kept of what this model version has judged so far."""
    frames = [frame.verdict for frame in this.state.verdicts if frame.tenant == tenant]
    judged = [verdict for verdict in frames if verdict.models and verdict.models.version == version]
    threshold = figures.threshold_for(judged, keep=KEEP, audit=AUDIT)
    await set_policy(this, tenant, threshold)
    this.show.say(
        f"{tenant}: threshold {threshold:.3f}, so that {KEEP:.0%} of {len(judged)} frames would have been kept"
    )


async def teach_and_offer(this: Round, work_folder: Path) -> None:
    """Store the training spec, then offer a model whose training was stopped early: the gate must refuse it."""
    await stage.set_training(this.stack, TENANT, TRAINING, work_folder)
    folder = stage.DETECTORS / "v0"
    offer = ("models", "offer", "--tenant", TENANT, "--model", DETECTOR, "--folder", str(folder))
    await stage.commanded(this.stack, "trainer-trigger", *offer)
    this.show.say("a worse model is offered on purpose")


async def drive(this: Round, drives: int) -> None:
    """Upload so many drives, every fourth completed on Kafka by the agent itself; never more in flight than is good."""
    for _ in range(drives):
        plan, vehicle, pictures = await this.drives.take()
        if this.drives.left % 4 == 0:
            await fleet.upload_drive_by_kafka(this.ingest, this.producer, vehicle, plan, pictures)
        else:
            await fleet.upload_drive(this.ingest, vehicle, plan, pictures)
        this.frames += len(pictures)
        await _until_screened(this, "screening keeps up", IN_FLIGHT_AT_MOST)


async def _until_screened(this: Round, what: str, in_flight: int) -> None:
    await this.watch.until(what, lambda: this.in_flight <= in_flight, look_at=SCREENING)


async def loop_once(this: Round) -> None:
    """Warm up, calibrate, drive until a training ends, drive on until its model is live, then drive the rest."""
    await drive(this, WARM_UP_DRIVES)
    await _until_screened(this, "the warm-up is screened", 0)
    await calibrate(this, TENANT, 1)
    await drive_until_trained(this)
    if this.state.ended_runs(offered=False)[0].state is TrainingState.RELEASED:
        await drive_until_it_serves(this)
    await drive(this, this.drives.left)
    is_judged = "the worse model is judged"
    await this.watch.until(is_judged, lambda: bool(this.state.ended_runs(offered=True)), look_at=TRAINER)


async def drive_until_trained(this: Round) -> None:
    """Drive until the training that the labels start has ended.

    Some drives are kept for the new model, unless no training has begun though all that was kept is labelled.
    """

    def has_ended() -> bool:
        return bool(this.state.ended_runs(offered=False))

    def wants_labels() -> bool:
        return bool(this.drives.left) and not this.state.newest_runs(offered=False) and this.is_settled()

    while not has_ended():
        if this.drives.left > ROLLOUT_DRIVES or wants_labels():
            await drive(this, 1)
        else:
            waited = "the training that the labels start has ended"
            await this.watch.until(waited, lambda: has_ended() or wants_labels(), look_at=TRAINER)


async def drive_until_it_serves(this: Round) -> None:
    """Drive while version 2, which passed its gate, is tried on live frames; keep some drives for when it serves."""

    def is_answered() -> bool:
        return this.state.serving(DETECTOR) >= 2 or bool(this.state.refused_releases)

    while not is_answered():
        if this.drives.left > LAST_DRIVES:
            await drive(this, 1)
        else:
            await this.watch.until("screening takes version 2", is_answered, look_at=ROLLOUT)
    if this.state.serving(DETECTOR) >= 2:
        this.show.say("version 2 screens from now on", "green")
        await calibrate(this, TENANT, 2)


async def second_tenant(this: Round, folder: Path) -> None:
    """Real pictures come in from another tenant, whose model is NanoDet."""
    await stage.seed_model(this.stack, STREET, f"detector.{STREET}", stage.DETECTORS / "nanodet-g-coco")
    await set_policy(this, STREET, 0.5)
    await this.watch.until("NanoDet serves", lambda: this.state.serving(f"detector.{STREET}") >= 1, look_at=ROLLOUT)
    (vehicle,) = await fleet.enrol(this.stack.postgres_dsn("ingest"), STREET, ["dashcam-1"])
    pictures = await asyncio.to_thread(lambda: list(street.pictures(folder)))
    this.show.say(f"{STREET}: {len(pictures)} real pictures and clip frames from {folder}")
    for number, batch in enumerate(street.batches(pictures, 16)):
        for picture in batch:
            this.show.truth.pictures[fleet.frame_id(vehicle, picture.content)] = picture.content
        await fleet.upload_drive(this.ingest, vehicle, DrivePlan(number, next(iter(WINTER_MIX))), batch)
        this.frames += len(batch)
        if number == 1:
            await _until_screened(this, "the first pictures are screened", 0)
            await calibrate(this, STREET, 1)


@asynccontextmanager
async def opened(stack: Stack, show: Show, drives: PlannedDrives) -> AsyncIterator[Round]:
    """Open what the demo works with."""
    async with (
        httpx.AsyncClient(base_url=f"http://{stack.address('ingest')}", timeout=300) as ingest,
        httpx.AsyncClient(base_url=f"http://{stack.address('label-router')}", timeout=300) as desk,
        AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True) as producer,
    ):
        yield Round(stack, show, Watch(show.state), ingest, desk, producer, drives)


async def run(stack: Stack, show: Show, plans: list[DrivePlan], *, again: bool) -> None:
    """Run the demo on a running stack, as long as anything moves."""
    drives = PlannedDrives(plans, DRIVE_FRAMES)
    async with opened(stack, show, drives) as this, asyncio.TaskGroup() as onlookers:
        looking = [
            onlookers.create_task(follow.follow_topics(stack.kafka_bootstrap, this.watch, show.tell)),
            onlookers.create_task(follow.follow_books(this.ingest, this.watch)),
            onlookers.create_task(follow.follow_trainings(stack.data / "logs" / "trainer-trigger.log", this.watch)),
            onlookers.create_task(show.refresh()),
        ]
        vehicles = await enrol_vehicles(this)
        looking.append(onlookers.create_task(drives.render(vehicles, show.truth)))
        await (go_on(this) if again else begin(this))
        show.answers = await figures.ask_at_the_end(stack)
        for task in looking:
            task.cancel()


async def begin(this: Round) -> None:
    """Show one whole round, on a stack that has seen nothing yet."""
    tokens = await set_up(this)
    async with people_at_work(this, tokens), asyncio.TaskGroup() as group:
        group.create_task(teach_and_offer(this, this.show.folder / "sets"))
        await loop_once(this)
        if folder := os.environ.get("ROADLOOP_PICTURES"):
            await second_tenant(this, Path(folder))


async def go_on(this: Round) -> None:
    """Drive on from where an earlier demo ended; a training may or may not fall due."""
    await follow.read_books(this.ingest, this.watch)
    this.announced_before = this.state.books["announced"]
    ingested = this.state.books["ingested"]
    await this.watch.until("what came before is read", lambda: len(this.state.verdicts) >= ingested, look_at=SCREENING)
    this.verdicts_before = len(this.state.verdicts)
    async with people_at_work(this, await enrol_annotators(this)):
        await drive(this, this.drives.left)


@asynccontextmanager
async def people_at_work(this: Round, tokens: list[str]) -> AsyncIterator[None]:
    """Let people label until everything is settled that came in meanwhile."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for seed, (token, skill) in enumerate(zip(tokens, (EXPERT, CAREFUL, HASTY), strict=True)):
            group.create_task(work(this.desk, token, this.show.truth, skill, seed=seed, stopping=stopping))
        yield
        await this.watch.until("everything in flight is settled", this.is_settled, look_at=SCREENING)
        stopping.set()


def bring_up(data: Path, show: Show, *, again: bool) -> Stack:
    """Bring a clean stack up, or the one that an earlier demo left."""
    if again and not (data / "stack.json").exists():
        raise CannotBegin(f"there is no demo to continue in {data}: leave --continue out")
    if (data / "stack.json").exists() and not again:
        show.say(f"starting clean: the stack in {data} is stopped and deleted")
        local.down(data, purge=True)
    return local.up(data, environment=SAME_AUDIT, report=show.say)


def main(
    data: Annotated[Path, typer.Option(envvar="ROADLOOP_DATA", help="the stack's folder")] = Path(".roadloop"),
    frames: Annotated[int, typer.Option(help="how many pictures the rendered fleet takes", min=2000)] = 4000,
    out: Annotated[Path, typer.Option(help="where the page and the report go")] = Path("build/demo"),
    again: Annotated[bool, typer.Option("--continue", help="go on with what an earlier demo left")] = False,
) -> None:
    """Show one whole round of the loop. Without --continue it starts clean: an earlier demo's stack is deleted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it gets the page, too
    show = Show(out, TENANT)
    show.write(show.page(now="servers and services start")[0])
    show.say(f"the page is there from now on: {out / 'index.html'}")
    try:
        stack = bring_up(data, show, again=again)
        asyncio.run(run(stack, show, plan(stack, frames, again=again), again=again))
    except BaseException as error:
        show.ended_early = reason_of(error)
        if not is_expected(error):
            raise
    finally:
        broken = show.finish()
        show.say("what is up stays up for a look: `roadloop status`, `roadloop lag`; `roadloop down` ends it")
    raise typer.Exit(1 if broken else 0)


def plan(stack: Stack, frames: int, *, again: bool) -> list[DrivePlan]:
    """Plan the drives: the same ones on every clean start, new ones each time a demo is continued."""
    drives = frames // DRIVE_FRAMES
    if not again:
        return plan_drives(100, WARM_UP_DRIVES, WINTER_MIX) + plan_drives(200, drives - WARM_UP_DRIVES, WINTER_MIX)
    books = httpx.get(f"http://{stack.address('ingest')}/v1/books", timeout=300).json()
    return plan_drives(1_000 + books["announced"], drives, WINTER_MIX)


def is_expected(error: BaseException) -> bool:
    """Say whether an error says by itself what to do, so that no traceback is wanted."""
    return all(isinstance(leaf, EXPECTED) for leaf in leaves(error))


def reason_of(error: BaseException) -> str:
    """Say why the demo did not run to its end."""
    first = leaves(error)[0]
    return "it was interrupted" if isinstance(first, KeyboardInterrupt) else str(first) or type(first).__name__


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors inside of a group, or an error alone."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in leaves(inner)]


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
