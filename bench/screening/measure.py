"""Measure screening: its speed beside the model server's own, its memory, and two workers beside each other."""

import asyncio
import os
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from loop.turns import Report
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_runtime.kafka.admin import ensure_topics
from screening import beside, lasting, models, pictures, speed
from screening.speed import Place

PICTURES = 300
TURN_FRAMES = 1_600
LIMITS = {"triton": 0.97, "worker_cpu_ms": 2.5, "ten_times": 1.05, "two_workers": 1.9}


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Bring up the servers; return figures, ratios and the runs themselves."""
    cores = sorted(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="screening-", dir=Path.home()) as folder,
        _open_servers(folder, report) as stack,
    ):
        pinned, free = _list_places(stack, Path(folder), cores, report)
        try:
            return asyncio.run(_measure(options, pinned, free, report))
        finally:
            os.sched_setaffinity(0, cores)


@contextmanager
def _open_servers(folder: str, report: Report) -> Iterator[Stack]:
    data = Path(folder) / "stack"
    try:
        yield local.up(data, speed.SERVERS, report=report)
    finally:
        local.down(data)


def _list_places(stack: Stack, folder: Path, cores: list[int], report: Report) -> tuple[Place, Place]:
    """Render the pictures into S3 and a folder; return the place with Triton on a core of its own, and the free one."""
    rendered = pictures.render(PICTURES)
    report(f"{PICTURES} pictures of {median(map(len, rendered)) / 1000:.0f} KB")
    for number, picture in enumerate(rendered):
        (folder / f"{number:05}.jpg").write_bytes(picture)
    objects = pictures.store(stack, rendered)
    everywhere = tuple(cores)
    apart = Place(stack, objects, folder, everywhere[-1:], everywhere[:1])
    return apart, Place(stack, objects, folder, everywhere, everywhere)


async def _measure(options: Namespace, pinned: Place, free: Place, report: Report) -> dict[str, Any]:
    await ensure_topics(pinned.stack.kafka_bootstrap)
    pinned.take()
    await models.bring_detectors(pinned.stack, speed.TENANT)
    runs = {
        name: await speed.take_turns(place, name, rounds=options.rounds, frames=TURN_FRAMES, report=report)
        for name, place in {"pinned": pinned, "free": free}.items()
    }
    await models.unload(pinned.stack, f"detector.{speed.TENANT}", models.SECOND)
    lasted = await lasting.measure(free, options.frames, report)
    pairs = await beside.measure(free, options.rounds, report)
    ratios = {
        "pinned": speed.compute_ratios(runs["pinned"], least_busy=speed.SATURATED),
        "free": speed.compute_ratios(runs["free"]),
    }
    return {
        "rounds": options.rounds,
        "limits": LIMITS,
        "figures": {name: speed.compute_figures(program_runs) for name, program_runs in runs.items()},
        "ratio": {
            "triton": median(ratios["pinned"]),
            "triton_rounds": ratios["pinned"],
            "triton_unpinned": median(ratios["free"]),
            "ten_times": lasting.compare_ten_times(lasted),
            "two_workers": beside.compare_workers(pairs),
        },
        "memory": {"growth_mib": lasting.measure_growth_mib(lasted["large"]["rss_mib"])},
        "runs": {"speed": [*runs["pinned"], *runs["free"]], "lasting": lasted, "beside": pairs},
    }


def make_table(result: Mapping[str, Any]) -> str:
    """Write the figures as two Markdown tables."""
    lines = ["| program | cores | frames/s | mean batch | Triton busy |", "|---|---|---:|---:|---:|"]
    for cores, programs in result["figures"].items():
        for name, program_figures in programs.items():
            speed_and_batch = f"{program_figures['frames_per_s']:.1f} | {program_figures['batch']:.2f}"
            lines.append(f"| {name} | {cores} | {speed_and_batch} | {program_figures['triton_busy']:.2f} |")
    used = result["figures"]["pinned"]["roadloop"]["cpu_ms_per_frame"]
    lines += ["", "| process | CPU ms per frame |", "|---|---:|"]
    lines += [f"| {name} | {ms:.2f} |" for name, ms in used.items()]
    ratio, lasted = result["ratio"], result["runs"]["lasting"]
    large = lasted["large"]
    lines += [
        "",
        f"Of the bare client's speed: {ratio['triton']:.3f} (limit {LIMITS['triton']}; rounds "
        f"{min(ratio['triton_rounds']):.3f} to {max(ratio['triton_rounds']):.3f}), unpinned "
        f"{ratio['triton_unpinned']:.3f}. Worker: {used['worker']:.2f} ms (limit {LIMITS['worker_cpu_ms']}).",
        f"{large['frames']:,} frames at {large['frames_per_s']:.0f}/s: memory grew by "
        f"{result['memory']['growth_mib']:.1f} MiB; 10 x frames take {ratio['ten_times'] * 10:.2f} x time. "
        f"Two workers: {ratio['two_workers']:.2f} x one.",
    ]
    return "\n".join(lines)
