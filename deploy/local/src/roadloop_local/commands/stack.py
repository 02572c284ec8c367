"""The commands `roadloop up` and `down`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from roadloop_local import stack
from roadloop_local.commands.options import DATA, Data, print_progress, report_stack_errors
from roadloop_local.layout import read_layout
from roadloop_local.status import read_status
from roadloop_local.supervision.signs_of_life import LONGEST, PATIENCE_S

TIMEOUT_HELP = (
    "For how many seconds a program that does not answer yet may show no sign of life (its log, its work, its reason). "
    f"One that is slow is waited for; one that moves and gets nowhere is given up after {LONGEST} times that."
)


def up(
    data: Data = DATA,
    servers_only: Annotated[bool, typer.Option("--servers-only", help="Start no services.")] = False,
    timeout_s: Annotated[float, typer.Option(min=1, help=TIMEOUT_HELP)] = PATIENCE_S,
) -> None:
    """Start the local stack and wait until it answers; what runs already goes on."""
    programs = stack.SERVERS_ONLY if servers_only else stack.EVERYTHING
    with report_stack_errors():
        if is_up(data, programs):
            print_progress(f"already running in {data}")
            return
        stack.up(data, programs, timeout_s=timeout_s, report=print_progress)
        print_progress(f"running in {data}: `roadloop status` shows it, `roadloop down` stops it")


def down(
    data: Data = DATA,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the data too.")] = False,
) -> None:
    """Stop the local stack; nothing of it stays but its data."""
    with report_stack_errors():
        stack.down(data, purge=purge, report=print_progress)
        print_progress(f"stopped {data}" + (", data deleted" if purge else ""))


def is_up(data: Path, programs: tuple[str, ...]) -> bool:
    """Return whether all programs run and answer."""
    if not (data / "stack.json").exists():
        return False
    states = {state.name: state for state in asyncio.run(read_status(read_layout(data.resolve())))}
    return all(states[name].healthy for name in programs)
