"""The command `roadloop books`."""

import json

import typer
from rich import print as show

from ingest import fate_table
from roadloop_runtime.cli.database import ask_database
from roadloop_runtime.cli.options import AsJson, Postgres


def books(postgres: Postgres, as_json: AsJson = False) -> None:
    """Show both books; the exit code says whether they balance."""
    found = ask_database(postgres, fate_table.book_rows)
    typer.echo(json.dumps(found)) if as_json else show(found["total"])
    raise typer.Exit(0 if found["total"]["balanced"] else 1)
