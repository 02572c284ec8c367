"""The command `roadloop logs`."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from roadloop_local.commands.options import DATA, Data, report_stack_errors
from roadloop_local.errors import StackError
from roadloop_local.layout import read_layout


def print_log(
    name: Annotated[str, typer.Argument(help="A server, a service, or `supervisor`.")],
    data: Data = DATA,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as the log grows.")] = False,
) -> None:
    """Print what a program said."""
    with report_stack_errors():
        path = read_layout(data.resolve()).log(name)
        if not path.exists():
            names = ", ".join(sorted(log.stem for log in path.parent.glob("*.log")))
            raise StackError(f"no log of {name}: there are {names or 'none yet, run `roadloop up`'}")
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
