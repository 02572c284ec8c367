"""Trainings: one run per dataset, one at a time, measured, and released or refused with a reason."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.fields import Condition
from roadloop_schemas.models import TrainingState
from roadloop_world.rendering.datasets import LabelledFrame
from tests.builders import NOW
from tests.waiting import eventually
from trainer_trigger import open_run
from trainer_trigger.intake import offers
from trainer_trigger.runner import run_for_ever, take_turn
from trainer_trigger.tables import model_table, run_table
from trainer_trigger.tables.run import Offer, Run
from trainer_trigger.tables.spec import GatePolicy
from trainer_trigger.training import release

from .conftest import DETECTORS, HANGING, Bench, write_trainer

pytestmark = pytest.mark.integration


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
