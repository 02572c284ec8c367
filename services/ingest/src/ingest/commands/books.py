"""The command `roadloop books`."""

import json
from typing import Annotated

import typer
from rich import print as show

from ingest import fate_table
from roadloop_runtime.cli.terminal import asked

Postgres = Annotated[str, typer.Option("--postgres", envvar="ROADLOOP_POSTGRES_DSN", help="ingest's own role")]


def books(postgres: Postgres, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show both books; the exit code says whether they balance."""
    found = asked(postgres, fate_table.book_rows)
    typer.echo(json.dumps(found)) if as_json else show(found["total"])
    raise typer.Exit(0 if found["total"]["balanced"] else 1)
