"""Which lines and branches of the code under test the seeds reach: `python -m tests.simulation.branches SEEDS`."""

import io
import logging
import sys
from collections.abc import Sequence
from typing import NamedTuple

import coverage
import structlog

MODULES = (
    "roadloop_runtime.loop.member_claims",
    "roadloop_runtime.loop.partition_task",
    "roadloop_runtime.loop.loop",
    "roadloop_runtime.loop.retry",
    "roadloop_runtime.outbox.publisher",
    "roadloop_runtime.settlement.kafka_settlement",
    "roadloop_runtime.settlement.postgres_settlement",
    "roadloop_runtime.loop.observation_queue",
)


class Reached(NamedTuple):
    """How much of one module was reached: 0..1 of its lines and branches, and what was not."""

    module: str
    share: float
    missing: str


def reached(seeds: range) -> Sequence[Reached]:
    """Run seeds in this process, measured. Of modules that were loaded before, the definitions would be missing."""
    measured = coverage.Coverage(branch=True, source=list(MODULES), data_file=None)
    measured.start()
    from tests.simulation.scenario import draw
    from tests.simulation.world import run

    for seed in seeds:
        run(draw(seed))
    measured.stop()
    return [_of(measured, module) for module in MODULES]


def _of(measured: coverage.Coverage, module: str) -> Reached:
    file = str(sys.modules[module].__file__)
    share = measured.report(morfs=[file], file=io.StringIO()) / 100
    _, _, _, missing, _ = measured.analysis2(file)
    return Reached(module.rpartition(".")[2], share, ", ".join(map(str, missing)))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for found in reached(range(int(sys.argv[1]))):
        print(f"{found.module:<16} {found.share:6.1%}  not reached: {found.missing or 'nothing'}")
