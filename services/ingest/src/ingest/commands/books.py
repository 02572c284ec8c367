"""The command `roadloop books`."""

import json

import typer
from rich import print as show

from ingest import fate_table
from roadloop_runtime.cli.database import ask_database
from roadloop_runtime.cli.options import AsJson, Postgres


def show_books(postgres: Postgres, as_json: AsJson = False) -> None:
    """Show both books; the exit code says whether they balance."""
    books = ask_database(postgres, fate_table.read_book_rows)
    typer.echo(json.dumps(books)) if as_json else show(books["total"])
    raise typer.Exit(0 if books["total"]["balanced"] else 1)
