"""The command `roadloop audit`, imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_commands

COMMANDS = {
    "audit": (
        "roadloop_audit.commands.audit:run_audit",
        "Compare what Kafka, Postgres and S3 say of every frame, and print what does not add up.",
    ),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    add_commands(app, COMMANDS)
