"""Measure the programs in turns against one broker of their own, and compare."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loop import topics
from loop.client import PARTITIONS, Job
from roadloop_local import stack

HERE = Path(__file__).resolve().parents[1]
SOURCE = "bench.in"
FAUST_SECONDS = 8.0
PROGRAM_TIMEOUT_S = 180
Report = Callable[[str], None]
Run = dict[str, Any]


@dataclass(frozen=True)
class Program:
    """One way to copy. `share` is the part of the input that it gets through in reasonable time."""

    name: str
    module: str
    mode: str = ""
    share: float = 1.0


PROGRAMS = (
    Program("roadloop", "loop.roadloop"),
    Program("bare_send_batch", "loop.bare", "batch"),
    Program("bare_send", "loop.bare", "send"),
    Program("bare_without_transactions", "loop.bare", "commit"),
    Program("faust", "loop.faust_agent", share=0.1),
)


def measure(records: int, rounds: int, report: Report) -> dict[str, Any]:
    """Start a broker, run every program once per round, and return figures, ratios and the runs themselves."""
    records -= records % PARTITIONS
    broker_core, client_core = _cores()
    with tempfile.TemporaryDirectory(prefix="roadloop-bench-") as data:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {broker_core})  # the broker inherits it
        try:
            bootstrap = stack.up(data, ("kafka",), report=report).kafka_bootstrap
            source = asyncio.run(_prepare(bootstrap, records, report))
            runs = _rounds(bootstrap, source, (records, rounds, client_core), report)
        finally:
            stack.down(data)
            os.sched_setaffinity(0, before)
    figures = {program.name: _figures([r for r in runs if r["program"] == program.name]) for program in PROGRAMS}
    return {"records": records, "rounds": rounds, "figures": figures, "ratio": _ratios(runs, figures), "runs": runs}


def _cores() -> tuple[int, int]:
    """Return the core of the broker and the core of the measured program."""
    free = sorted(os.sched_getaffinity(0))
    return free[0], free[-1]


async def _prepare(bootstrap: str, records: int, report: Report) -> topics.Prints:
    report(f"writing {records} records")
    await topics.create(bootstrap, [SOURCE])
    await topics.fill(bootstrap, SOURCE, records)
    return await topics.fingerprints(bootstrap, SOURCE)


def _rounds(bootstrap: str, source: topics.Prints, plan: tuple[int, int, int], report: Report) -> list[Run]:
    """Run the programs in turns; every round begins with another one, so that none always meets a fresh broker."""
    records, rounds, core = plan
    runs: list[Run] = []
    for turn in range(rounds):
        shift = turn % len(PROGRAMS)
        for program in PROGRAMS[shift:] + PROGRAMS[:shift]:
            target = f"bench.{program.name}.{turn}"
            wanted = int(records * program.share)
            run = _run(
                Job(program.name, program.mode, bootstrap, SOURCE, target, wanted, FAUST_SECONDS, core, ""), program
            )
            asyncio.run(_check(bootstrap, source, target, run["records"]))
            runs.append({"program": program.name, "round": turn} | run)
            report(f"round {turn + 1}/{rounds} {program.name:26} {_line(run)}")
    return runs


def _run(job: Job, program: Program) -> Run:
    asyncio.run(_create(job))
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        text = json.dumps(asdict(job) | {"report": answer.name})
        subprocess.run([sys.executable, "-m", program.module, text], cwd=HERE, check=True, timeout=PROGRAM_TIMEOUT_S)
        return json.loads(Path(answer.name).read_text())


async def _create(job: Job) -> None:
    await topics.create(job.bootstrap, [job.target])
    await topics.create(job.bootstrap, [f"{job.target}.members"], 1)


async def _check(bootstrap: str, source: topics.Prints, target: str, records: int) -> None:
    topics.check_copy(source, await topics.fingerprints(bootstrap, target), records)
    await topics.delete(bootstrap, [target, f"{target}.members"])


def _figures(runs: Sequence[Run]) -> dict[str, float]:
    """Return medians; of the CPU time the least, too, which other load on the machine disturbs least."""
    return {
        "records_per_s": median(run["records_per_s"] for run in runs),
        "cpu_us_per_record": median(run["cpu_us_per_record"] for run in runs),
        "cpu_us_per_record_min": min(run["cpu_us_per_record"] for run in runs),
        "rss_mib": median(run["rss_mib"] for run in runs),
        "records_per_commit": median(run["records"] / (run["commits"] or run["records"]) for run in runs),
    }


def _ratios(runs: Sequence[Run], figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return medians of the rounds' ratios: CPU time against `bare*`, records per second against Faust."""
    cheaper = min(("bare_send_batch", "bare_send"), key=lambda name: figures[name]["cpu_us_per_record"])
    return {
        "bare": _ratio(runs, "roadloop", cheaper, "cpu_us_per_record"),
        "bare_without_transactions": _ratio(runs, "roadloop", "bare_without_transactions", "cpu_us_per_record"),
        "faust": _ratio(runs, "roadloop", "faust", "records_per_s"),
    }


def _ratio(runs: Sequence[Run], above: str, below: str, figure: str) -> float:
    of = {(run["program"], run["round"]): run[figure] for run in runs}
    return median(of[above, turn] / of[below, turn] for name, turn in of if name == above)


def _line(run: Run) -> str:
    return f"{run['records_per_s']:9,.0f} records/s {run['cpu_us_per_record']:7.1f} us CPU {run['rss_mib']:5.0f} MiB"


def table(result: Mapping[str, Any]) -> str:
    """Write the figures as a Markdown table."""
    lines = [
        "| program | records/s | CPU us/record, median (least) | RSS MiB | records per commit |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, found in result["figures"].items():
        cpu = f"{found['cpu_us_per_record']:.1f} ({found['cpu_us_per_record_min']:.1f})"
        commit = f"{found['records_per_commit']:,.0f}" if name != "faust" else "-"
        lines.append(f"| {name} | {found['records_per_s']:,.0f} | {cpu} | {found['rss_mib']:.0f} | {commit} |")
    ratio = result["ratio"]
    lines.append("")
    lines.append(
        f"CPU: {ratio['bare']:.2f} x bare, {ratio['bare_without_transactions']:.2f} x bare without transactions; "
        f"records/s: {ratio['faust']:.1f} x Faust"
    )
    return "\n".join(lines)
