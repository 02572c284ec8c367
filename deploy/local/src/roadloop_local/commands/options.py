"""What the commands of the local stack share: the folder, and how they say what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from roadloop_local.errors import StackError

Data = Annotated[Path, typer.Option("--data", envvar="ROADLOOP_DATA", help="The stack's folder.")]
DATA = Path(".roadloop")


def print_progress(line: str) -> None:
    """Print progress where it does not disturb output."""
    typer.echo(line, err=True)


@contextmanager
def report_stack_errors() -> Iterator[None]:
    """Print an expected failure as it is, without a traceback, and leave with 1."""
    try:
        yield
    except StackError as error:
        print_progress(str(error))
        raise typer.Exit(1) from None
