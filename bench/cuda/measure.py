"""Measure what a GPU gains: one model server, the same detector on all cores and on the GPU, saturated in turn.

A picture is decoded on a core wherever its network runs, so more instances than the GPU needs share that work.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loop.turns import REPOSITORY, Report, make_environment
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_world.actors.tenant_setup import DETECTORS
from screen.rollout.model_repository import Instances
from screening import models, pictures
from screening.bare import Job
from screening.speed import OUTPUTS

MEASURED = ("nanodet-g-coco", "v1")
PICTURES, SECONDS, CLIENTS, IN_FLIGHT = 40, 4.0, 4, 16


@dataclass(frozen=True)
class Run:
    """One detector somewhere: frames answered in a second, and seconds to load it."""

    detector: str
    kind: str
    instances: int
    frames_per_s: float
    load_s: float


def measure(_options: Namespace, report: Report) -> dict[str, Any]:
    """Load each detector on the CPU and on the GPU; return figures and ratios."""
    with tempfile.TemporaryDirectory(prefix="gpu-", dir=Path.home()) as folder:
        rendered = Path(folder) / "pictures"
        _write_pictures(rendered, report)
        stack = local.up(Path(folder) / "stack", ["triton"], report=report)
        try:
            runs = [_run(stack, rendered, *place, report) for place in _list_places()]
        finally:
            local.down(stack.data)
    gains = {name: _compute_gain(runs, name) for name in MEASURED}
    figures = {f"{run.detector} on {run.instances} x {run.kind}": run.frames_per_s for run in runs}
    return {"figures": figures, "ratio": {"cpu": gains}, "runs": [asdict(run) for run in runs]}


def make_table(result: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| detector | where | instances | frames/s | loaded in s |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {run['detector']} | {run['kind']} | {run['instances']} | {run['frames_per_s']:.0f} | {run['load_s']:.1f} |"
        for run in result["runs"]
    ]
    gains = ", ".join(f"{name} {gain:.2f}" for name, gain in result["ratio"]["cpu"].items())
    return "\n".join([*lines, "", f"GPU beside all cores, each at its best: {gains}"])


def _list_places() -> Iterator[tuple[str, Instances]]:
    cores = len(os.sched_getaffinity(0))
    for detector in MEASURED:
        yield detector, Instances(cores, "cpu")
        for count in (2, cores // 2, cores):
            yield detector, Instances(count, "gpu")


def _compute_gain(runs: Sequence[Run], detector: str) -> float:
    detector_runs = [run for run in runs if run.detector == detector]
    cpu, gpu = (max(run.frames_per_s for run in detector_runs if run.kind == kind) for kind in ("cpu", "gpu"))
    return gpu / cpu


def _write_pictures(folder: Path, report: Report) -> None:
    folder.mkdir()
    for number, picture in enumerate(pictures.render(PICTURES)):
        (folder / f"{number:02}.jpg").write_bytes(picture)
    report(f"{PICTURES} pictures")


def _run(stack: Stack, folder: Path, detector: str, instances: Instances, report: Report) -> Run:
    name = f"detector.{detector}.{instances.kind}{instances.count}"
    began = time.monotonic()
    asyncio.run(models.load_detector(stack, name, DETECTORS / detector, instances))
    load_s = time.monotonic() - began
    frames_per_s = _saturate(
        Job(stack.triton_grpc, [name], OUTPUTS, str(folder), IN_FLIGHT, together=1, seconds=SECONDS)
    )
    run = Run(detector, instances.kind, instances.count, frames_per_s, load_s)
    asyncio.run(models.unload(stack, name))
    report(f"{detector} on {instances.count} x {instances.kind}: {frames_per_s:.0f} frames/s")
    return run


def _saturate(job: Job) -> float:
    """Return frames per second, of clients enough that none of them is the limit."""
    command = (sys.executable, "-m", "screening.bare", json.dumps(asdict(job)))
    clients = [
        subprocess.Popen(command, cwd=REPOSITORY, env=make_environment(), stdout=subprocess.PIPE)
        for _ in range(CLIENTS)
    ]
    return sum(float(json.loads(client.communicate()[0])["frames_per_s"]) for client in clients)
