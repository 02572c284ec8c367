"""What every command shows and says alike at a terminal."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roadloop_runtime.broker import Aborted, Fenced, TopicMissing
from roadloop_runtime.kafka import ClientError, NoBrokerAnswers
from roadloop_runtime.storage.postgres import CONNECTION_FAILED, Connection

Rows = Sequence[Sequence[str]]
T = TypeVar("T")


class Refused(Exception):
    """What was asked for cannot be done; the message is one line that says why and what to do."""


@contextmanager
def one_line_errors(kafka: str) -> Iterator[None]:
    """Print an expected failure as one line, without a traceback, and leave with 1."""
    for client in ("aiokafka", "asyncio"):  # asyncio prints what a client that was fenced has left unread
        logging.getLogger(client).addHandler(logging.NullHandler())
    try:
        yield
    except (NoBrokerAnswers, TimeoutError, OSError):
        _leave(f"no Kafka broker answers at {kafka}: check --kafka, or start the local stack with `roadloop up`")
    except Fenced:
        _leave("another run of the same command took over: wait for it, then look again")
    except Aborted as error:
        _leave(f"a batch did not become durable ({error}): run it again, nothing is written twice")
    except ClientError as error:
        _leave(f"Kafka at {kafka} refused ({type(error).__name__}: {error}): see the broker's log")
    except (Refused, TopicMissing) as error:
        _leave(str(error))


@contextmanager
def one_line_refusals() -> Iterator[None]:
    """Print what was refused as one line, and leave with 1."""
    try:
        yield
    except Refused as error:
        _leave(str(error))


@contextmanager
def one_line_database_errors() -> Iterator[None]:
    """Print a database that refuses or does not answer as one line, and leave with 1."""
    try:
        yield
    except Refused as error:
        _leave(str(error))
    except (*CONNECTION_FAILED, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
        _leave(
            f"Postgres refused ({said}): check --postgres, and that the service's schema is migrated (`roadloop up`)"
        )


def asked(dsn: str, ask: Callable[[Connection], Awaitable[T]]) -> T:
    """Ask Postgres once, on a connection of its own."""

    async def ask_once() -> T:
        connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
        try:
            return await ask(connection)
        finally:
            await connection.close(timeout=2)

    with one_line_database_errors():
        return asyncio.run(ask_once())


def _leave(line: str) -> NoReturn:
    typer.echo(" ".join(line.split()), err=True)
    raise typer.Exit(1) from None


def as_table(titles: Sequence[str], rows: Rows, numbers: frozenset[str]) -> Table:
    """Draw rows for a person; the columns named in `numbers` stand to the right."""
    table = Table()
    for title in titles:
        table.add_column(title, justify="right" if title in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
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
    return "\n".join("\t".join(map(printable, row)) for row in (titles, *rows))


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or change its state; line ends stay.

    Bytes of senders reach operators' terminals here.
    """
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )
