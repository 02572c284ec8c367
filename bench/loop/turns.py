"""Run programs in turns against one broker, each on a core of its own, and compare what they cost."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loop import topics
from loop.client import Job
from roadloop_local import stack

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = "bench.in"
PROGRAM_TIMEOUT_S = 180
Report = Callable[[str], None]
Run = dict[str, Any]
Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Program:
    """One way to copy. `share` is the part of the input that it gets through in reasonable time.

    It is given up after `seconds`; what it did until then counts.
    """

    name: str
    module: str
    mode: str = ""
    share: float = 1.0
    seconds: float = 8.0
    python: str = sys.executable


@dataclass(frozen=True)
class Broker:
    """A broker on one core; the measured programs have the other."""

    bootstrap: str
    core: int


@contextmanager
def open_broker(report: Report) -> Iterator[Broker]:
    """Start a broker on the first core."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="roadloop-bench-") as data:
        os.sched_setaffinity(0, {cores[0]})  # the broker inherits it
        try:
            yield Broker(stack.up(data, ("kafka",), report=report).kafka_bootstrap, cores[-1])
        finally:
            stack.down(data)
            os.sched_setaffinity(0, cores)


async def fill_source(broker: Broker, records: int, report: Report) -> topics.Prints:
    """Write what the programs copy; return its fingerprints."""
    report(f"writing {records} records")
    await topics.create(broker.bootstrap, [SOURCE])
    await topics.fill(broker.bootstrap, SOURCE, records)
    return await topics.read_fingerprints(broker.bootstrap, SOURCE)


def take_turns(
    programs: Sequence[Program], broker: Broker, source: topics.Prints, *, rounds: int, report: Report
) -> list[Run]:
    """Run the programs in turns; every round begins with another one, so that none always meets a fresh broker."""
    runs: list[Run] = []
    for turn in range(rounds):
        shift = turn % len(programs)
        for program in [*programs[shift:], *programs[:shift]]:
            target = f"bench.{program.name}.{turn}"
            records = int(sum(map(len, source)) * program.share)
            run = _run(
                Job(program.mode, broker.bootstrap, SOURCE, target, records, program.seconds, broker.core), program
            )
            asyncio.run(_check(broker.bootstrap, source, target, run["records"]))
            runs.append({"program": program.name, "round": turn} | run)
            report(f"round {turn + 1}/{rounds} {program.name:26} {_make_line(run)}")
    return runs


def _run(job: Job, program: Program) -> Run:
    asyncio.run(create_target(job.bootstrap, job.target))
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        text = json.dumps(asdict(job) | {"report": answer.name})
        command = [program.python, "-m", program.module, text]
        subprocess.run(command, cwd=REPOSITORY, env=make_environment(), check=True, timeout=PROGRAM_TIMEOUT_S)
        run: Run = json.loads(Path(answer.name).read_text())
        return run


def make_environment() -> dict[str, str]:
    """Return the environment of a measured program: the peers' interpreter has none of our packages."""
    return os.environ | {"PYTHONPATH": f"{REPOSITORY / 'bench'}:{REPOSITORY / 'schemas' / 'src'}"}


async def create_target(bootstrap: str, target: str) -> None:
    """Create the topics that a program writes to."""
    await topics.create(bootstrap, [target])
    await topics.create(bootstrap, [f"{target}.members"], 1)


async def _check(bootstrap: str, source: topics.Prints, target: str, records: int) -> None:
    topics.check_copy(source, await topics.read_fingerprints(bootstrap, target), records)
    await topics.delete(bootstrap, [target, f"{target}.members"])


def figures_of(programs: Sequence[Program], runs: Sequence[Run]) -> Figures:
    """Return each program's figures."""
    return {
        program.name: _compute_figures([run for run in runs if run["program"] == program.name]) for program in programs
    }


def _compute_figures(runs: Sequence[Run]) -> dict[str, float]:
    """Return medians; of the CPU time the least, too, which other load on the machine disturbs least."""
    return {
        "records_per_s": median(run["records_per_s"] for run in runs),
        "cpu_us_per_record": median(run["cpu_us_per_record"] for run in runs),
        "cpu_us_per_record_min": min(run["cpu_us_per_record"] for run in runs),
        "rss_mib": median(run["rss_mib"] for run in runs),
        "records_per_commit": median(run["records"] / (run["commits"] or run["records"]) for run in runs),
    }


def compute_ratio(runs: Sequence[Run], above: str, below: str, figure: str) -> float:
    """Return the median of the rounds' ratios."""
    by_program_and_round = {(run["program"], run["round"]): run[figure] for run in runs}
    return float(
        median(
            by_program_and_round[above, turn] / by_program_and_round[below, turn]
            for name, turn in by_program_and_round
            if name == above
        )
    )


def _make_line(run: Run) -> str:
    return f"{run['records_per_s']:9,.0f} records/s {run['cpu_us_per_record']:7.1f} us CPU {run['rss_mib']:5.0f} MiB"
