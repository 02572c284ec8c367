"""Run many seeds on all cores, and sum up what they showed."""

import logging
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context

import structlog
from rich.console import Console
from rich.progress import track

from tests.simulation.scenario import draw
from tests.simulation.world import Report, run

SLICE = 25


@dataclass
class Sum:
    """What many seeds showed."""

    seeds: int = 0
    seconds: float = 0.0
    failed: list[Report] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    places: set[str] = field(default_factory=set)
    starts: int = 0

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.starts += report.starts
        self.faults.update(fault.kind for fault in report.scenario.faults)
        self.errors.update(error.partition(":")[0] for error in report.errors)
        self.places |= report.places
        if report.problem:
            self.failed.append(report)


def run_slice(seeds: range) -> list[Report]:
    return [run(draw(seed)) for seed in seeds]


def be_quiet() -> None:
    """The code under test logs every fault; here they are all wanted."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    warnings.simplefilter("ignore")  # killed processes leave coroutines that nobody awaits


def reports(seeds: range) -> Iterator[Report]:
    """Run seeds on all cores, in order."""
    slices = [range(at, min(at + SLICE, seeds.stop)) for at in range(seeds.start, seeds.stop, SLICE)]
    with get_context("spawn").Pool(os.cpu_count(), be_quiet) as pool:
        for found in pool.imap(run_slice, slices):
            yield from found


def summed(seeds: range, *, quiet: bool = False) -> Sum:
    """Run seeds with progress and sum them up."""
    total, began = Sum(), time.monotonic()
    for report in track(
        reports(seeds), "seeds", total=len(seeds), console=Console(stderr=True, quiet=quiet), disable=quiet
    ):
        total.add(report)
    total.seconds = time.monotonic() - began
    return total
