"""The commands of the runtime: topics, lag, dead letters."""

import asyncio

import typer

from roadloop_runtime import letters_command
from roadloop_runtime.kafka import admin
from roadloop_runtime.lag_command import lag
from roadloop_runtime.terminal import Bootstrap, one_line_errors

__all__ = ["Bootstrap", "register"]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    topics = typer.Typer(help="Topics, as their files describe them.", no_args_is_help=True)
    topics.command("create")(create_topics)
    app.add_typer(topics, name="topics")
    app.command("lag")(lag)
    letters_command.register(app)


def create_topics(kafka: Bootstrap) -> None:
    """Create the topics that are missing; refuse a changed partition count."""
    with one_line_errors(kafka):
        asyncio.run(admin.ensure_topics(kafka))
