"""The commands `roadloop up`, `down`, `status`, `logs` and `env`."""

import asyncio
import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from roadloop_local import stack
from roadloop_local.binaries import find_binaries
from roadloop_local.errors import StackError
from roadloop_local.layout import read_layout
from roadloop_local.services import SERVICES, environment
from roadloop_local.status import ProgramStatus, read_status

Data = Annotated[Path, typer.Option("--data", envvar="ROADLOOP_DATA", help="The stack's folder.")]
DATA = Path(".roadloop")


def register(app: typer.Typer) -> None:
    """Add the commands of the local stack to the root command."""
    for command in (up, down, status, logs, env):
        app.command()(command)


def say(line: str) -> None:
    """Print progress where it does not disturb output."""
    typer.echo(line, err=True)


@contextmanager
def explain() -> Iterator[None]:
    """Print an expected failure as it is, without a traceback, and leave with 1."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        yield
    except StackError as error:
        say(str(error))
        raise typer.Exit(1) from None


def up(
    data: Data = DATA,
    servers_only: Annotated[bool, typer.Option("--servers-only", help="Start no services.")] = False,
    timeout_s: Annotated[float, typer.Option(help="How long a program may take to answer, in seconds.")] = 120,
) -> None:
    """Start the local stack and wait until it answers; what runs already goes on."""
    programs = stack.SERVERS_ONLY if servers_only else stack.EVERYTHING
    with explain():
        if is_up(data, programs):
            say(f"already running in {data}")
            return
        stack.up(data, programs, timeout_s=timeout_s, report=say)
        say(f"running in {data}: `roadloop status` shows it, `roadloop down` stops it")


def is_up(data: Path, programs: tuple[str, ...]) -> bool:
    """Return whether all programs run and answer."""
    if not (data / "stack.json").exists():
        return False
    states = {state.name: state for state in asyncio.run(read_status(read_layout(data.resolve())))}
    return all(states[name].healthy for name in programs)


def down(
    data: Data = DATA,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the data too.")] = False,
) -> None:
    """Stop the local stack; nothing of it stays but its data."""
    with explain():
        stack.down(data, purge=purge, report=say)
        say(f"stopped {data}" + (", data deleted" if purge else ""))


def status(
    data: Data = DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every server and service: state, process, ports, uptime, health."""
    with explain():
        states = asyncio.run(read_status(read_layout(data.resolve())))
    if as_json:
        typer.echo(json.dumps([state.as_json() for state in states], indent=2))
    else:
        Console().print(draw(states))


def draw(states: list[ProgramStatus]) -> Table:
    """Return the table of programs."""
    table = Table("program", "state", "pid", "ports", "uptime", "healthy")
    for state in states:
        ports = " ".join(f"{short_name(state.name, port)}={number}" for port, number in state.ports.items())
        uptime = f"{state.uptime_s:.0f} s" if state.pid else ""
        table.add_row(state.name, state.state, str(state.pid or ""), ports, uptime, "yes" if state.healthy else "no")
    return table


def short_name(program: str, port: str) -> str:
    """Return a port's name without the program's: `kafka_controller` of kafka is `controller`."""
    return port.removeprefix(program).removeprefix("_") or "main"


def logs(
    name: Annotated[str, typer.Argument(help="A server, a service, or `supervisor`.")],
    data: Data = DATA,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as the log grows.")] = False,
) -> None:
    """Print what a program said."""
    with explain():
        path = read_layout(data.resolve()).log(name)
        if not path.exists():
            known = ", ".join(sorted(log.stem for log in path.parent.glob("*.log")))
            raise StackError(f"no log of {name}: there are {known or 'none yet, run `roadloop up`'}")
    for text in read_log(path, follow):
        sys.stdout.write(text)
        sys.stdout.flush()


def read_log(path: Path, follow: bool) -> Iterator[str]:
    """Return the log in pieces; when following, begin anew where the file was rotated."""
    position = 0
    while True:
        if path.exists():
            position = position if path.stat().st_size >= position else 0
            with path.open(errors="replace") as file:
                file.seek(position)
                yield file.read()
                position = file.tell()
        if not follow:
            return
        time.sleep(0.3)


def env(
    service: Annotated[str, typer.Argument(help="ingest, screen, label-router or trainer-trigger")],
    data: Data = DATA,
) -> None:
    """Print a service's settings for a shell: eval "$(roadloop env ingest)"."""
    with explain():
        layout = read_layout(data.resolve())
        if service not in SERVICES:
            raise StackError(f"there is no service {service}: choose one of {', '.join(SERVICES)}")
        for name, value in environment(service, layout, find_binaries()).items():
            typer.echo(f"export {name}={shlex.quote(value)}")
