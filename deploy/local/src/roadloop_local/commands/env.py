"""The command `roadloop env`."""

import shlex
from typing import Annotated

import typer

from roadloop_local.binaries import find_binaries
from roadloop_local.commands.options import DATA, Data, report_stack_errors
from roadloop_local.errors import StackError
from roadloop_local.layout import read_layout
from roadloop_local.services import SERVICES, build_environment


def print_environment(
    service: Annotated[str, typer.Argument(help="ingest, screen, label-router or trainer-trigger")],
    data: Data = DATA,
) -> None:
    """Print a service's settings for a shell: eval "$(roadloop env ingest)"."""
    with report_stack_errors():
        layout = read_layout(data.resolve())
        if service not in SERVICES:
            raise StackError(f"there is no service {service}: choose one of {', '.join(SERVICES)}")
        for name, value in build_environment(service, layout, find_binaries()).items():
            typer.echo(f"export {name}={shlex.quote(value)}")
