"""What every command shows and says alike at a terminal. It needs no client, so that no command pays for another's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Rows = Sequence[Sequence[str]]


class Refused(Exception):
    """What was asked for cannot be done; the message is one line that says why and what to do."""


@contextmanager
def report_refusals() -> Iterator[None]:
    """Print what was refused as one line, and leave with 1."""
    try:
        yield
    except Refused as error:
        leave(str(error))


def leave(line: str) -> NoReturn:
    """Print a line to stderr, and leave with 1."""
    typer.echo(" ".join(line.split()), err=True)
    raise typer.Exit(1) from None


def as_table(titles: Sequence[str], rows: Rows, numbers: frozenset[str]) -> Table:
    """Draw rows for a person; the columns named in `numbers` stand to the right."""
    table = Table()
    for title in titles:
        table.add_column(title, justify="right" if title in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(escape_controls(cell)) for cell in row))
    return table


def show_rows(titles: Sequence[str], rows: Rows, numbers: frozenset[str]) -> None:
    """Print rows: a table for a person, lines with tabs for a program."""
    console = Console()
    if console.is_terminal:
        console.print(as_table(titles, rows, numbers))
    else:
        typer.echo(as_lines(titles, rows))


def as_lines(titles: Sequence[str], rows: Rows) -> str:
    """Write rows for a program: a title line, then cells with tabs between them."""
    return "\n".join("\t".join(map(escape_controls, row)) for row in (titles, *rows))


def escape_controls(text: str) -> str:
    """Escape what would move a terminal's cursor or change its state; line ends stay.

    Bytes of senders reach operators' terminals here.
    """
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )
