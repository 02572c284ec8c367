"""Measure the loop beside programs that do without it."""

import asyncio
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from loop import turns
from loop.turns import Program, Report

PROGRAMS = (
    Program("roadloop", "loop.roadloop"),
    Program("bare_send_batch", "loop.bare", "batch"),
    Program("bare_send", "loop.bare", "send"),
    Program("bare_without_transactions", "loop.bare", "commit"),
    Program("faust", "loop.faust_agent", share=0.1),
)


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Start a broker, run every program once per round, and return figures, ratios and the runs themselves."""
    with turns.open_broker(report) as broker:
        source = asyncio.run(turns.fill_source(broker, options.records, report))
        runs = turns.take_turns(PROGRAMS, broker, source, rounds=options.rounds, report=report)
    figures = turns.figures_of(PROGRAMS, runs)
    return {
        "records": options.records,
        "rounds": options.rounds,
        "figures": figures,
        "ratio": _compute_ratios(runs, figures),
        "runs": runs,
    }


def _compute_ratios(runs: list[turns.Run], figures: turns.Figures) -> dict[str, float]:
    """Return medians of the rounds' ratios: CPU time against `bare*`, records per second against Faust."""
    cheaper = min(("bare_send_batch", "bare_send"), key=lambda name: figures[name]["cpu_us_per_record"])
    return {
        "bare": turns.compute_ratio(runs, "roadloop", cheaper, "cpu_us_per_record"),
        "bare_without_transactions": turns.compute_ratio(
            runs, "roadloop", "bare_without_transactions", "cpu_us_per_record"
        ),
        "faust": turns.compute_ratio(runs, "roadloop", "faust", "records_per_s"),
    }


def make_table(result: Mapping[str, Any]) -> str:
    """Write the figures as a Markdown table."""
    lines = [
        "| program | records/s | CPU us/record, median (least) | RSS MiB | records per commit |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in result["figures"].items():
        cpu = f"{row['cpu_us_per_record']:.1f} ({row['cpu_us_per_record_min']:.1f})"
        commit = f"{row['records_per_commit']:,.0f}" if name != "faust" else "-"
        lines.append(f"| {name} | {row['records_per_s']:,.0f} | {cpu} | {row['rss_mib']:.0f} | {commit} |")
    ratio = result["ratio"]
    lines.append("")
    lines.append(
        f"CPU: {ratio['bare']:.2f} x bare, {ratio['bare_without_transactions']:.2f} x bare without transactions; "
        f"records/s: {ratio['faust']:.1f} x Faust"
    )
    return "\n".join(lines)
