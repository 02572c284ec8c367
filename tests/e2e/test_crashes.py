"""Every process is killed or frozen under load, and each frame still has one verdict, one task and one label."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from roadloop_audit.places import places_of
from roadloop_audit.settled import audit_settled
from roadloop_local import services
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.binaries import find_binaries
from roadloop_local.ports import choose_ports
from roadloop_schemas.frames import FrameScreened, Verdict
from roadloop_schemas.labels import LabelCompleted, LabelRequested
from roadloop_schemas.models import ModelServing, TrainingChanged, TrainingState
from roadloop_schemas.topics import FRAMES_INGESTED, read_topic_files
from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.actors.subscriber import count_duplicates, read_topic
from roadloop_world.rendering.datasets import FLEET_MIX, DrivePlan, plan_drives
from tests.load import label_for_ever, read_books
from tests.waiting import GUARD_S, LONG_TEST_S, TRAINING_S, eventually, last_line

pytestmark = [pytest.mark.e2e, pytest.mark.crash, pytest.mark.timeout(LONG_TEST_S)]

TENANT = "crash"
FRAMES_PER_DRIVE = 8
IN_FLIGHT_AT_MOST = 32
POLICY = '{"threshold": 1.0, "audit_share": 0.5}'
TRAINING = tenant_setup.Training(
    min_labels=16, steps=10, min_gain=-1, label_weight=1, base_frames=24, validation_frames=2
)
ENDED = {TrainingState.RELEASED, TrainingState.REFUSED, TrainingState.FAILED}


@pytest.fixture
def whole_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("crashes")
    try:
        yield local.up(data)
    finally:
        local.down(data, purge=True)


@dataclass
class Loop:
    """A stack under load: cars upload drive after drive, two people label, and a training starts by itself."""

    stack: Stack
    ingest: httpx.AsyncClient
    desk: httpx.AsyncClient
    truth: fleet.Truth = field(default_factory=fleet.Truth)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    async def books(self) -> dict[str, Any]:
        """Return the books; empty ones while ingest or its database is away."""
        return await read_books(self.ingest) or {"announced": 0, "files": {}, "frames": {}}

    async def screened(self) -> int:
        frames = (await self.books())["frames"]
        return int(frames.get("kept", 0) + frames.get("dropped", 0))

    async def settled(self) -> bool:
        """Say whether all that was sent is known, screened, and labelled where it was kept."""
        found = await self.books()
        done = not ({"open"} & found["files"].keys() or {"in_flight"} & found["frames"].keys())
        return done and found["announced"] == self.sent and found["labelled"] == found["frames"].get("kept", 0)

    async def drive(self, vehicles: list[fleet.Vehicle]) -> None:
        """Upload drive after drive, every other one completed on Kafka, never far ahead of the screening."""
        async with AIOKafkaProducer(bootstrap_servers=self.stack.kafka_bootstrap, enable_idempotence=True) as producer:
            for number, plan in zip(count(), plan_drives(7, 500, FLEET_MIX), strict=False):
                if self.enough.is_set():
                    return
                await self._upload(vehicles[number % len(vehicles)], plan, producer if number % 2 else None)
                await eventually("the screening keeps up", self._keeps_up, moving=self.books)

    async def _upload(self, car: fleet.Vehicle, plan: DrivePlan, producer: AIOKafkaProducer | None) -> None:
        pictures = await asyncio.to_thread(fleet.take_pictures, car, plan, FRAMES_PER_DRIVE, self.truth)
        self.sent += len(pictures)
        if producer:
            await fleet.upload_drive_by_kafka(self.ingest, producer, car, plan, pictures)
        else:
            await fleet.upload_drive(self.ingest, car, plan, pictures)

    async def _keeps_up(self) -> bool:
        return self.enough.is_set() or self.sent - await self.screened() <= IN_FLIGHT_AT_MOST

    async def goes_on(self) -> None:
        """Wait until frames that were not there before have come through."""
        before = await self.screened()

        async def more() -> bool:
            return await self.screened() >= before + FRAMES_PER_DRIVE

        await eventually("frames come through", more, moving=self.books)

    async def states(self) -> dict[str, list[TrainingChanged]]:
        records = await read_topic(self.stack.kafka_bootstrap, "trainings.changed.v1")
        runs: dict[str, list[TrainingChanged]] = {}
        for record in records:
            said = TrainingChanged.model_validate_json(record.value or b"")
            runs.setdefault(said.run_id, []).append(said)
        return runs

    async def training_runs(self) -> bool:
        return any(run[-1].state is TrainingState.RUNNING for run in (await self.states()).values())

    async def no_training_runs(self) -> bool:
        return all(run[-1].state in ENDED for run in (await self.states()).values())

    async def how_far(self) -> tuple[object, ...]:
        """Return what moves while labels become trainings, and these end: cars go on, and their frames do not count."""
        labelled = min((await self.books()).get("labelled", 0), TRAINING.min_labels)
        states = [said.state for run in (await self.states()).values() for said in run]
        return labelled, states, last_line(self.stack.layout.log("trainer-trigger"))

    async def members(self, group: str) -> int:
        """Return how many processes a consumer group has, as its coordinator sees it."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.stack.kafka_bootstrap)
        await admin.start()
        try:
            (answer,) = await admin.describe_consumer_groups([group])
        finally:
            await admin.close()
        return len(answer.groups[0][5])


@asynccontextmanager
async def under_load(stack: Stack, tmp_path: Path) -> AsyncIterator[Loop]:
    """Set the tenant up and let the load begin; it goes on until the end, and what fails in it fails the test."""
    await tenant_setup.seed_model(stack, TENANT, f"detector.{TENANT}", tenant_setup.DETECTORS / "v1")
    await tenant_setup.set_training(stack, TENANT, TRAINING, tmp_path)
    await tenant_setup.set_policy(stack, TENANT, POLICY)
    tokens = await tenant_setup.enrol_annotators(stack, TENANT, ["ann", "bob"])
    vehicles = await fleet.enrol(stack.postgres_dsn("ingest"), TENANT, ["car-1", "car-2", "car-3"])
    await eventually("the model serves", lambda: serves(stack, 1))
    async with (
        httpx.AsyncClient(base_url=f"http://{stack.address('ingest')}", timeout=GUARD_S) as ingest,
        httpx.AsyncClient(base_url=f"http://{stack.address('label-router')}", timeout=GUARD_S) as desk,
        asyncio.TaskGroup() as group,
    ):
        loop = Loop(stack, ingest, desk)
        driving = group.create_task(loop.drive(vehicles))
        labelling = [
            group.create_task(label_for_ever(desk, token, loop.truth, seed)) for seed, token in enumerate(tokens)
        ]
        yield loop
        for task in (driving, *labelling):
            task.cancel()


async def serves(stack: Stack, version: int) -> bool:
    records = await read_topic(stack.kafka_bootstrap, "models.serving.v1")
    told = [ModelServing.model_validate_json(record.value or b"") for record in records]
    return any(said.version >= version for said in told)


async def kill(stack: Stack, program: str) -> None:
    """Kill a program and wait until the supervisor has brought another one up."""
    killed = await asyncio.to_thread(local.kill, stack.data, program)
    await eventually(f"{program} is another process", lambda: is_another(stack, program, killed))
    await asyncio.to_thread(local.start, stack.data, program)


async def is_another(stack: Stack, program: str, killed: int) -> bool:
    try:
        return await asyncio.to_thread(local.pid_of, stack.data, program) != killed
    except local.StackError:
        return False


@contextmanager
def second_worker(stack: Stack, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run another screening worker beside the stack's own."""
    settings = services.build_environment("screen", stack.layout, find_binaries())
    mine = {"ROADLOOP_MEMBER": "screen-1", "ROADLOOP_HEALTH_PORT": str(choose_ports(["screen-1"], {})["screen-1"])}
    command = [str(find_binaries().python), "-m", "screen"]
    with (folder / "screen-1.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | settings | mine, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(GUARD_S)


def count_take_overs(*logs: Path) -> int:
    return sum(log.read_bytes().count(b'"event": "taken_over"') for log in logs if log.exists())


async def has_members(loop: Loop, wanted: int) -> bool:
    return await loop.members("screen") == wanted


async def freeze_a_worker(loop: Loop, folder: Path) -> None:
    """Stop the stack's worker until another has taken its partitions over, then let it go on as if nothing were."""
    logs = (loop.stack.layout.log("screen"), folder / "screen-1.log")
    before = count_take_overs(*logs)
    with second_worker(loop.stack, folder) as second:
        await eventually("two workers share the partitions", lambda: has_members(loop, 2))

        async def all_are_taken_over() -> bool:
            return count_take_overs(*logs) >= before + read_topic_files()[FRAMES_INGESTED].partitions

        # frozen in the midst of a take-over, the first would fence the second on waking
        await eventually("both have taken over", all_are_taken_over)
        await loop.goes_on()
        await asyncio.to_thread(local.kill, loop.stack.data, "screen", signal.SIGSTOP)
        await eventually("the group gives the frozen worker up", lambda: has_members(loop, 1))
        await loop.goes_on()
        await asyncio.to_thread(local.kill, loop.stack.data, "screen", signal.SIGCONT)
        await eventually("the frozen worker is back", lambda: has_members(loop, 2))
        second.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(second.wait, GUARD_S) == 0


async def test_crashes_lose_nothing_and_repeat_nothing(whole_stack: Stack, tmp_path: Path) -> None:
    async with under_load(whole_stack, tmp_path) as loop:
        await loop.goes_on()
        for program in ("ingest", "label-router", "screen", "screen-rollout"):
            await kill(whole_stack, program)
            await loop.goes_on()
        await eventually("a training runs", loop.training_runs, TRAINING_S, moving=loop.how_far)
        await kill(whole_stack, "trainer-trigger")
        await freeze_a_worker(loop, tmp_path)
        await kill(whole_stack, "triton")
        await loop.goes_on()

        loop.enough.set()
        await eventually("every frame has its fate, every kept one its label", loop.settled, moving=loop.books)
        await eventually("no training is under way", loop.no_training_runs, TRAINING_S, moving=loop.how_far)
        found = await loop.books()
        assert found["balanced"]
        assert found["files"] == {"accepted": loop.sent}
        assert found["frames"].keys() <= {"kept", "dropped"}
        await one_verdict_one_task_one_label(loop, found)
        await one_run_per_dataset(loop)
        assert await count_duplicates(whole_stack.kafka_bootstrap) == 0
        assert await audit_settled(places_of(whole_stack)) == []


async def one_verdict_one_task_one_label(loop: Loop, found: dict[str, Any]) -> None:
    bootstrap = loop.stack.kafka_bootstrap
    screened = [r.value or b"" for r in await read_topic(bootstrap, "frames.screened.v1")]
    verdicts = Counter(FrameScreened.model_validate_json(value).frame_id for value in screened)
    assert verdicts == Counter(dict.fromkeys(loop.truth.frames, 1))
    kept = {v.frame_id for v in map(FrameScreened.model_validate_json, screened) if v.verdict is Verdict.KEPT}
    assert len(kept) == found["frames"]["kept"]
    requested = [r.value or b"" for r in await read_topic(bootstrap, "labels.requested.v1")]
    tasks = Counter(LabelRequested.model_validate_json(value).frame_id for value in requested)
    assert tasks == Counter(dict.fromkeys(kept, 1))
    completed = [r.value or b"" for r in await read_topic(bootstrap, "labels.completed.v1")]
    labels = [LabelCompleted.model_validate_json(value) for value in completed]
    assert Counter(label.frame_id for label in labels) == Counter(dict.fromkeys(kept, 1))
    assert len({label.task_id for label in labels}) == len(kept)


async def one_run_per_dataset(loop: Loop) -> None:
    runs = await loop.states()
    assert {run[-1].state for run in runs.values()} <= {TrainingState.RELEASED, TrainingState.REFUSED}
    assert 1 <= len({run[0].dataset_id for run in runs.values()}) == len(runs)
    for run in runs.values():
        assert [said.revision for said in run] == sorted({said.revision for said in run})
    released = [run[-1] for run in runs.values() if run[-1].state is TrainingState.RELEASED]
    newest = max((said.candidate_version or 0 for said in released), default=1)
    await eventually("the last release serves", lambda: serves(loop.stack, newest))
