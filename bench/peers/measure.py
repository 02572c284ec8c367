"""Measure three things beside the peers: speed without a wait, speed with one, and what is lost or repeated."""

import asyncio
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import starmap
from typing import Any

from loop import turns
from loop.client import PARTITIONS
from loop.turns import REPOSITORY, SOURCE, Broker, Program, Report
from peers.faults import suffer
from peers.supervised import supervise
from peers.work import FOR_EVER, Task
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition

PEERS_PYTHON = str(REPOSITORY / ".venvs" / "peers" / "bin" / "python")
WAIT_S = 0.005
FAILING = 0.01
CALM_S = 15.0

NO_WAIT = (
    Program("roadloop", "loop.roadloop"),
    Program("aiokafka_at_least_once", "loop.bare", "commit"),
    Program("aiokafka_transactions", "loop.bare", "batch"),
    Program("faust", "loop.faust_agent", share=0.1),
    Program("faststream_each", "peers.fast", "each", share=0.1, python=PEERS_PYTHON),
    Program("faststream_batch", "peers.fast", "batch", share=0.5, python=PEERS_PYTHON),
    Program("quix_at_least_once", "peers.quix", "at-least-once", share=0.5, python=PEERS_PYTHON),
    Program("quix_exactly_once", "peers.quix", "exactly-once", share=0.5, python=PEERS_PYTHON),
)


@dataclass(frozen=True)
class Peer:
    """A program with a wait per record, and how many of those its documentation lets it have at once."""

    program: Program
    concurrency: int


WITH_WAIT = (
    Peer(Program("roadloop", "peers.ours"), 64),
    Peer(Program("aiokafka_at_least_once", "peers.bare", "at-least-once"), 64),
    Peer(Program("aiokafka_transactions", "peers.bare", "transactions"), 64),
    Peer(Program("faust_in_order", "peers.faust_agent"), 1),
    Peer(Program("faust_concurrent", "peers.faust_agent"), 64),
    Peer(Program("faststream_each", "peers.fast", "each", python=PEERS_PYTHON), PARTITIONS),
    Peer(Program("faststream_batch", "peers.fast", "batch", python=PEERS_PYTHON), 64),
    Peer(Program("quix_at_least_once", "peers.quix", "at-least-once", python=PEERS_PYTHON), 1),
    Peer(Program("quix_exactly_once", "peers.quix", "exactly-once", python=PEERS_PYTHON), 1),
)


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Start a broker; return figures, the fates of the records, and ratios."""
    with turns.open_broker(report) as broker:
        source = asyncio.run(turns.fill_source(broker, options.records, report))
        runs = turns.take_turns(NO_WAIT, broker, source, rounds=options.rounds, report=report)
        calm = {peer.program.name: asyncio.run(_measure_calm(peer, broker, report)) for peer in WITH_WAIT}
        fates = {peer.program.name: asyncio.run(_suffer(peer, broker, options.kills, report)) for peer in WITH_WAIT}
    figures = turns.figures_of(NO_WAIT, runs)
    best = max((name for name in figures if name != "roadloop"), key=lambda name: figures[name]["records_per_s"])
    return {
        "records": options.records,
        "rounds": options.rounds,
        "figures": figures,
        "best_peer": best,
        "ratio": {"best_peer": turns.compute_ratio(runs, "roadloop", best, "records_per_s")},
        "calm": calm,
        "fates": fates,
        "runs": runs,
    }


def _make_task(peer: Peer, broker: Broker, source: str, target: str, failing: float) -> Task:
    return Task(
        peer.program.mode,
        broker.bootstrap,
        source,
        target,
        FOR_EVER,
        FOR_EVER,
        broker.core,
        wait_s=WAIT_S,
        failing=failing,
        concurrency=peer.concurrency,
    )


async def _measure_calm(peer: Peer, broker: Broker, report: Report) -> float:
    """Return the copies per second that a read_committed reader sees after a while of undisturbed work."""
    target = f"calm.{peer.program.name}"
    await turns.create_target(broker.bootstrap, target)
    async with supervise(peer.program, _make_task(peer, broker, SOURCE, target, 0.0)) as supervised:
        if not await supervised.wait_until_begun():
            raise RuntimeError(f"{peer.program.name} took no record: see its log")
        await asyncio.sleep(CALM_S)
        copies = [await read_partition(broker.bootstrap, Partition(target, p)) for p in range(PARTITIONS)]
    report(f"calm {peer.program.name:26} {sum(map(len, copies)) / CALM_S:9,.0f} records/s")
    return sum(map(len, copies)) / CALM_S


async def _suffer(peer: Peer, broker: Broker, kills: int, report: Report) -> dict[str, Any]:
    task = _make_task(peer, broker, f"fates.{peer.program.name}.in", f"fates.{peer.program.name}", FAILING)
    fate = await suffer(peer.program, task, kills)
    report(f"{peer.program.name:26} {fate}")
    return asdict(fate)


def make_table(result: Mapping[str, Any]) -> str:
    """Write the figures as Markdown tables."""
    speeds = [
        f"| {name} | {program_figures['records_per_s']:,.0f} | {program_figures['cpu_us_per_record']:.1f} |"
        for name, program_figures in result["figures"].items()
    ]
    return "\n".join(
        [
            "| no wait | records/s | CPU us/record |",
            "|---|---:|---:|",
            *speeds,
            "",
            f"records/s: {result['ratio']['best_peer']:.2f} x the best peer, {result['best_peer']}",
            "",
            "| 5 ms | at once | records/s | sent | lost | unfinished | repeated | kills (unsettled) | ended itself |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
            *starmap(_make_row, ((peer, result["calm"], result["fates"][peer.program.name]) for peer in WITH_WAIT)),
        ]
    )


def _make_row(peer: Peer, calm: Mapping[str, float], fate: Mapping[str, Any]) -> str:
    cells = (
        peer.program.name,
        peer.concurrency,
        f"{calm[peer.program.name]:,.0f}",
        fate["sent"],
        fate["lost"],
        fate["unfinished"],
        fate["repeated"],
        f"{fate['kills']} ({fate['unsettled']})",
        fate["ends"],
    )
    return f"| {' | '.join(map(str, cells))} |"
