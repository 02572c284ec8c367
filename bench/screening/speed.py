"""The worker beside the bare client, in turns: frames per second, and what each process uses for a frame."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loop.turns import REPOSITORY, Report, make_environment
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_schemas.fields import ObjectRef
from screening import models, processes, units, verdicts, worker
from screening.bare import WARM_UP_S, Job

TENANT = "bench"
SERVERS = ("kafka", "s3", "triton")
OUTPUTS = ("DETECTIONS", "EMBEDDING")
BARE = {"bare_8": (8, 1), "bare_16": (16, 1), "bare_16x4": (16, 4)}  # frames in flight, and in a request
WORKER = "roadloop"
SATURATED = 0.95  # of a core
BARE_S = 12.0
STEADY = 0.1, 0.9  # what comes before and after is the start and the end of a run, not its speed
Run = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a run happens: a stack, the pictures there and here, and the cores of Triton and of everything else."""

    stack: Stack
    objects: Sequence[ObjectRef]
    folder: Path
    triton: tuple[int, ...]
    others: tuple[int, ...]

    def take(self) -> None:
        """Move everything that runs to its cores, this process too; what is started from now on inherits them."""
        for name in SERVERS:
            processes.pin(local.pid_of(self.stack.data, name), self.triton if name == "triton" else self.others)
        processes.pin(os.getpid(), self.others)

    def processes(self, **beside: int) -> processes.Processes:
        """Return what to measure: the servers, and what runs beside them."""
        return {name: local.pid_of(self.stack.data, name) for name in SERVERS} | beside


async def take_turns(place: Place, name: str, *, rounds: int, frames: int, report: Report) -> list[Run]:
    """Run the bare client in all its ways, and the worker; every round begins with another one.

    A first run of the worker does not count: the broker's code has to be compiled, and the models' memory to be there.
    """
    place.take()
    await _screen(place, f"{name}.warm", frames // 2)
    runs: list[Run] = []
    turns = [*BARE, WORKER]
    for turn in range(rounds):
        shift = turn % len(turns)
        for program in [*turns[shift:], *turns[:shift]]:
            bare = BARE.get(program)
            run = await (_run_bare(place, *bare) if bare else _screen(place, f"{name}.{turn}", frames))
            runs.append({"program": program, "cores": name, "round": turn} | run)
            report(f"{name} {turn + 1}/{rounds} {program:9} {_make_line(run)}")
    return runs


async def _run_bare(place: Place, in_flight: int, together: int) -> Run:
    names = (f"detector.{TENANT}", models.SECOND)
    job = Job(place.stack.triton_grpc, names, OUTPUTS, str(place.folder), in_flight, together, BARE_S)
    before = await models.count_batches(place.stack)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "screening.bare", json.dumps(asdict(job))),
        cwd=REPOSITORY,
        env=make_environment(),
        stdout=subprocess.PIPE,
    )
    busy = await _measure_busy(place, process.pid)
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the bare client ended with {process.returncode}")
    run: Run = json.loads(output)
    used = {name: share / run["frames_per_s"] * 1000 for name, share in busy.items()}
    return run | {
        "cpu_ms_per_frame": used,
        "batch": _compute_mean_batch(before, await models.count_batches(place.stack)),
    }


async def _measure_busy(place: Place, client: int) -> Mapping[str, float]:
    """Return the CPU seconds a second of the servers and a bare client, in the middle of its run."""
    await asyncio.sleep(WARM_UP_S + BARE_S / 4)
    running = place.processes(bare=client)
    began, at = processes.measure_cpu_s(running), time.monotonic()
    await asyncio.sleep(BARE_S / 2)
    ended, seconds = processes.measure_cpu_s(running), time.monotonic() - at
    return {name: (ended[name] - began[name]) / seconds for name in running}


async def _screen(place: Place, batch: str, frames: int) -> Run:
    """Write all units, then start a worker, and take its speed from its verdicts."""
    stack = place.stack
    async with verdicts.watch(stack) as reader:
        frame_ids = await units.write(stack, TENANT, batch, frames, place.objects)
        before = await models.count_batches(stack)
        async with worker.run_worker(stack) as pid:
            running = place.processes(worker=pid)
            used: list[tuple[int, Mapping[str, float]]] = []

            def note(count: int) -> None:
                if not used or count >= STEADY[1] * len(frame_ids) > used[-1][0]:
                    used.append((count, processes.measure_cpu_s(running)))

            collected = await verdicts.collect(reader, len(frame_ids), note)
            rss = processes.measure_rss_mib(pid)
    collected.check(frame_ids)
    seconds, count = collected.seconds(*STEADY)
    (first, began), (last, ended) = used[0], used[-1]
    return {
        "frames": count,
        "seconds": seconds,
        "frames_per_s": count / seconds,
        "cpu_ms_per_frame": {name: (ended[name] - began[name]) / (last - first) * 1000 for name in began},
        "rss_mib": rss,
        "batch": _compute_mean_batch(before, await models.count_batches(stack)),
    }


def _compute_mean_batch(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> float:
    """Return the mean of the batches that were executed meanwhile, of all models."""
    differences = [(after[name][0] - count, after[name][1] - executed) for name, (count, executed) in before.items()]
    return sum(count for count, _ in differences) / max(1, sum(executed for _, executed in differences))


def compute_figures(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return medians by program."""
    figures_by_program: dict[str, dict[str, Any]] = {}
    for program in dict.fromkeys(run["program"] for run in runs):
        program_runs = [run for run in runs if run["program"] == program]
        figures_by_program[program] = {
            key: median(run[key] for run in program_runs) for key in ("frames_per_s", "batch")
        }
        figures_by_program[program]["triton_busy"] = median(map(measure_triton_busy, program_runs))
        used = [run["cpu_ms_per_frame"] for run in program_runs]
        figures_by_program[program]["cpu_ms_per_frame"] = {
            name: median(used_by_process[name] for used_by_process in used) for name in used[0]
        }
    return figures_by_program


def measure_triton_busy(run: Run) -> float:
    """Return how much of a core the model server used."""
    return float(run["cpu_ms_per_frame"]["triton"] * run["frames_per_s"] / 1000)


def compute_ratios(runs: Sequence[Run], least_busy: float = 0.0) -> list[float]:
    """Return, round by round, the worker's speed in that of the better bare client.

    A round in which no bare client had the server busy means nothing, and is left out; AssertionError where all are.
    """
    rounds: dict[int, dict[str, Run]] = {}
    for run in runs:
        rounds.setdefault(run["round"], {})[run["program"]] = run
    round_ratios = [_compute_ratio(programs, least_busy) for programs in rounds.values()]
    if not any(round_ratios):
        raise AssertionError(f"no bare client used {least_busy:.2f} of a core: something else was using it")
    return [ratio for ratio in round_ratios if ratio is not None]


def _compute_ratio(programs: Mapping[str, Run], least_busy: float) -> float | None:
    bare = max((programs[name] for name in BARE), key=lambda run: run["frames_per_s"])
    return programs[WORKER]["frames_per_s"] / bare["frames_per_s"] if measure_triton_busy(bare) >= least_busy else None


def _make_line(run: Run) -> str:
    used = "".join(f" {name} {ms:.2f}" for name, ms in run["cpu_ms_per_frame"].items())
    busy = measure_triton_busy(run)
    speed = f"{run['frames_per_s']:7.1f} frames/s, batches of {run['batch']:.2f}, Triton {busy:.2f} busy"
    return f"{speed}, CPU ms a frame:{used}"
