"""Prepare a round of the demo: models, policies, vehicles, annotators, and what a training is to be."""

import asyncio
import json
from pathlib import Path

from roadloop_world.actors import fleet, tenant_setup
from roadloop_world.demo import figures
from roadloop_world.demo.round import ROLLOUT, TENANT, Round

DETECTOR = f"detector.{TENANT}"
KEEP, AUDIT = 0.10, 0.01
TRAINING = tenant_setup.Training(
    min_labels=180,
    steps=100,
    min_gain=0.05,
    max_condition_loss=0.05,  # 50 frames a condition do not tell 3 points from none: of 12 recipes one lost 3.2
    label_weight=0.3,  # few labels are in clear weather: with 3 they cost up to 2.7 points there
    base_frames=800,
    validation_frames=50,
)


async def set_up(this: Round) -> list[str]:
    """Seed two models, a policy, vehicles and annotators; return the annotators' tokens once version 1 serves."""
    this.show.say("seeding detector v1 (trained on clear scenes only) and a second one of another architecture")
    async with asyncio.TaskGroup() as group:
        group.create_task(_seed_models(this))
        group.create_task(set_policy(this, TENANT, 1.0))
        annotators = group.create_task(enrol_annotators(this))
    await this.watch.wait_until(
        "detector v1 serves", lambda: this.state.serving_version_of(DETECTOR) >= 1, look_at=ROLLOUT
    )
    return annotators.result()


async def _seed_models(this: Round) -> None:
    """Release the second model, then the one that names it: releases are looked at in this order."""
    second = f"second.{TENANT}"
    await tenant_setup.seed_model(this.stack, TENANT, second, tenant_setup.DETECTORS / "second")
    await tenant_setup.seed_model(this.stack, TENANT, DETECTOR, tenant_setup.DETECTORS / "v1", second=second)


async def enrol_vehicles(this: Round) -> list[fleet.Vehicle]:
    """Enrol vehicles with fresh keys."""
    names = [f"car-{number}" for number in range(1, 9)]
    return await fleet.enrol(this.stack.postgres_dsn("ingest"), TENANT, names)


async def enrol_annotators(this: Round) -> list[str]:
    """Enrol annotators; return their fresh tokens."""
    return await tenant_setup.enrol_annotators(this.stack, TENANT, ["ann", "bob", "eve"])


async def set_policy(this: Round, tenant: str, threshold: float) -> None:
    """Set what the demo wants of screening, with a threshold."""
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
    await tenant_setup.set_policy(this.stack, tenant, json.dumps(policy))


async def calibrate(this: Round, tenant: str, version: int) -> None:
    """Set the threshold so that the budget would have been kept of what this model version has judged so far."""
    frames = [frame.verdict for frame in this.state.verdicts if frame.tenant == tenant]
    judged = [verdict for verdict in frames if verdict.models and verdict.models.version == version]
    threshold = figures.choose_threshold(judged, keep=KEEP, audit=AUDIT)
    await set_policy(this, tenant, threshold)
    this.show.say(
        f"{tenant}: threshold {threshold:.3f}, so that {KEEP:.0%} of {len(judged)} frames would have been kept"
    )


async def teach_and_offer(this: Round, work_folder: Path) -> None:
    """Store the training spec, then offer a model whose training was stopped early: the gate must refuse it."""
    await tenant_setup.set_training(this.stack, TENANT, TRAINING, work_folder)
    folder = tenant_setup.DETECTORS / "v0"
    offer = ("models", "offer", "--tenant", TENANT, "--model", DETECTOR, "--folder", str(folder))
    await tenant_setup.run_command(this.stack, "trainer-trigger", *offer)
    this.show.say("a worse model is offered on purpose")
