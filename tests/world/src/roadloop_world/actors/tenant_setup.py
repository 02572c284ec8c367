"""Set a tenant up the way an admin does: by the `roadloop` command, with each service's own settings."""

import asyncio
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from roadloop_local.addresses import Stack
from roadloop_local.binaries import REPOSITORY, find_binaries
from roadloop_local.services import build_environment
from roadloop_world.rendering.datasets import (
    LabelledFrame,
    render_base_training_set,
    render_validation_set,
    write_split,
)

DETECTORS = REPOSITORY / "services" / "trainer-trigger" / "detectors"
HANGS_AFTER_S = 900  # a guard: commands end within seconds, beside much other work within a minute
CLASSES = "car,truck,bus,pedestrian,bicycle,e-bike,tricycle"


class CommandFailed(Exception):
    """A `roadloop` command ended with an error; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Training:
    """A tenant's training spec, as options of `roadloop specs set`."""

    min_labels: int
    steps: int
    min_gain: float
    label_weight: float
    base_frames: int
    validation_frames: int  # per condition
    max_condition_loss: float = 0.02


async def run_command(stack: Stack, service: str, *arguments: str) -> str:
    """Run `roadloop ...` with the settings of a service and return what it printed; raises CommandFailed."""
    return await asyncio.to_thread(_run, stack, service, *arguments)


def zip_set(folder: Path, split: str, frames: Iterable[LabelledFrame]) -> Path:
    """Write frames as a data set and zip it; JPEGs do not shrink further."""
    write_split(folder / split, split, frames)
    target = folder / f"{split}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted((folder / split).rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder / split))
    return target


async def seed_model(stack: Stack, tenant: str, model: str, folder: Path, *, second: str | None = None) -> None:
    """Release the first version of a model, ungated."""
    options = ("--second-model", second) if second else ()
    await run_command(
        *(stack, "trainer-trigger", "models", "seed", "--tenant", tenant, "--model", model),
        *("--folder", str(folder), *options),
    )


async def set_training(stack: Stack, tenant: str, training: Training, work: Path) -> None:
    """Render both sets and store the spec."""
    base = await asyncio.to_thread(zip_set, work, "train", render_base_training_set(training.base_frames))
    validation = await asyncio.to_thread(zip_set, work, "validation", render_validation_set(training.validation_frames))
    options: Mapping[str, object] = {
        "--tenant": tenant,
        "--model": f"detector.{tenant}",
        "--min-labels": training.min_labels,
        "--base-set": base,
        "--validation-set": validation,
        "--steps": training.steps,
        "--min-gain": training.min_gain,
        "--max-condition-loss": training.max_condition_loss,
        "--label-weight": training.label_weight,
    }
    arguments = [str(word) for option in options.items() for word in option]
    await run_command(stack, "trainer-trigger", "specs", "set", *arguments)


async def enrol_annotators(stack: Stack, tenant: str, names: Iterable[str]) -> list[str]:
    """Enrol annotators and return their tokens."""
    await run_command(stack, "label-router", "queues", "set", "--tenant", tenant, "--classes", CLASSES)
    commands = [
        run_command(stack, "label-router", "annotators", "enrol", "--tenant", tenant, "--name", name) for name in names
    ]
    return await asyncio.gather(*commands)


async def set_policy(stack: Stack, tenant: str, policy: str) -> None:
    await run_command(stack, "screen", "policies", "set", "--tenant", tenant, policy)


def _run(stack: Stack, service: str, *arguments: str) -> str:
    settings = build_environment(service, stack.layout, find_binaries())
    program = [str(Path(sys.executable).with_name("roadloop")), *arguments]
    command_line = f"roadloop {' '.join(arguments)}"
    try:
        process = subprocess.run(
            program, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=HANGS_AFTER_S
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"{command_line} hangs: it has not ended for {HANGS_AFTER_S} s (roadloop status)"
        ) from error
    if process.returncode != 0:
        raise CommandFailed(f"{command_line}: {process.stderr.strip() or process.stdout.strip()}")
    return process.stdout.strip()
