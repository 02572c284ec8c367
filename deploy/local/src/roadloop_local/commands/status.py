"""The command `roadloop status`."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from roadloop_local.commands.options import DATA, Data, report_stack_errors
from roadloop_local.layout import read_layout
from roadloop_local.status import ProgramStatus, read_status


def show_status(
    data: Data = DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every server and service: state, process, ports, uptime, health."""
    with report_stack_errors():
        states = asyncio.run(read_status(read_layout(data.resolve())))
    if as_json:
        typer.echo(json.dumps([state.as_json() for state in states], indent=2))
    else:
        Console().print(draw_table(states))


def draw_table(states: list[ProgramStatus]) -> Table:
    """Return the table of programs."""
    table = Table("program", "state", "pid", "ports", "uptime", "healthy")
    for state in states:
        ports = " ".join(f"{shorten_port_name(state.name, port)}={number}" for port, number in state.ports.items())
        uptime = f"{state.uptime_s:.0f} s" if state.pid else ""
        table.add_row(state.name, state.state, str(state.pid or ""), ports, uptime, "yes" if state.healthy else "no")
    return table


def shorten_port_name(program: str, port: str) -> str:
    """Return a port's name without the program's: `kafka_controller` of kafka is `controller`."""
    return port.removeprefix(program).removeprefix("_") or "main"
