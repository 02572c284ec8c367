"""Run seeds, replay one scenario, or plant defects: `python -m tests.simulation --help`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tests.simulation import mutations
from tests.simulation.scenario import Scenario, draw
from tests.simulation.shrink import shrink
from tests.simulation.sweep import be_quiet, summed
from tests.simulation.world import Report, run

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("seeds")
def run_seeds(
    count: Annotated[int, typer.Argument(min=1)] = 500, first: Annotated[int, typer.Option(min=0)] = 0
) -> None:
    """Run seeds. A failing one is shrunk, and printed so that `replay` runs it again."""
    total = summed(range(first, first + count))
    typer.echo(f"{total.seeds} seeds in {total.seconds:.1f} s, {total.starts} process starts")
    typer.echo("faults: " + ", ".join(f"{kind} {number}" for kind, number in total.faults.most_common()))
    typer.echo("processes ended by: " + ", ".join(f"{kind} {number}" for kind, number in total.errors.most_common()))
    typer.echo(f"processes were killed while waiting at {len(total.places)} places of the code under test")
    for report in total.failed[:5]:
        tell(report)
    if total.failed:
        typer.echo(f"{len(total.failed)} of {total.seeds} seeds failed", err=True)
        raise typer.Exit(1)


def tell(report: Report) -> None:
    """Print a failure and the shortest scenario that still fails."""
    typer.echo(f"\nseed {report.scenario.seed} failed: {report.problem}")
    shortest = shrink(report.scenario, lambda scenario: bool(run(scenario).problem))
    typer.echo(f"shortest: {run(shortest).problem}")
    typer.echo(f"run it again: python -m tests.simulation replay '{shortest.to_json()}'")


@app.command()
def replay(scenario: str) -> None:
    """Run one scenario again, as `seeds` printed it."""
    report = run(Scenario.from_json(scenario))
    for error in report.errors:
        typer.echo(f"ended: {error}")
    typer.echo(
        f"{report.steps} steps, {report.seconds:.3f} s virtual, the busiest id fenced {report.most_fences} times"
    )
    typer.echo(report.problem or "all holds")
    raise typer.Exit(1 if report.problem else 0)


@app.command("mutations")
def run_mutations(
    most: Annotated[int, typer.Option(min=1, help="Seeds per defect at most.")] = 400,
    only: Annotated[str, typer.Option(help="Only defects whose name holds this.")] = "",
    table: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
) -> None:
    """Plant each known defect and count the seeds until it is caught. Fails where one is not."""
    chosen = [mutation for mutation in mutations.SHOWN_HERE if only in mutation.name]
    caught = mutations.catch_all(chosen, most)
    lines = mutations.as_table(caught)
    typer.echo(lines)
    if table is not None:
        table.write_text(lines + "\n")
    if missed := [mutation.name for mutation, seed, _ in caught if seed is None]:
        typer.echo(f"not caught within {most} seeds: {', '.join(missed)}", err=True)
        raise typer.Exit(1)


@app.command("first-failure", hidden=True)
def first_failure(most: int) -> None:
    """Print the first failing seed and its problem, or nothing."""
    for seed in range(most):
        if problem := run(draw(seed)).problem:
            typer.echo(f"{seed} {problem}")
            return


def with_fixed_hashes(arguments: Sequence[str]) -> None:
    """Start over with fixed string hashes: else sets of names come in another order in each process."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.simulation", *arguments], os.environ | {"PYTHONHASHSEED": "0"}
        )


if __name__ == "__main__":
    with_fixed_hashes(sys.argv[1:])
    be_quiet()
    app()
