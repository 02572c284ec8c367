"""The commands of the runtime: topics, lag, dead letters."""

import asyncio
from typing import Annotated

import typer

from roadloop_runtime import admin

Bootstrap = Annotated[str, typer.Option("--kafka", envvar="ROADLOOP_KAFKA_BOOTSTRAP", help="host:port of a broker")]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    topics = typer.Typer(help="Topics, as their files describe them.", no_args_is_help=True)
    topics.command("create")(create_topics)
    app.add_typer(topics, name="topics")


def create_topics(kafka: Bootstrap) -> None:
    """Create the topics that are missing; refuse a changed partition count."""
    asyncio.run(admin.ensure_topics(kafka))
