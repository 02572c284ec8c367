"""The commands of the local stack. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_commands

COMMANDS = {
    "up": (
        "roadloop_local.commands.stack:up",
        "Start the local stack and wait until it answers; what runs already goes on.",
    ),
    "down": (
        "roadloop_local.commands.stack:down",
        "Stop the local stack; nothing of it stays but its data.",
    ),
    "status": (
        "roadloop_local.commands.status:show_status",
        "Show every server and service: state, process, ports, uptime, health.",
    ),
    "logs": (
        "roadloop_local.commands.logs:print_log",
        "Print what a program said.",
    ),
    "env": (
        "roadloop_local.commands.env:print_environment",
        'Print a service\'s settings for a shell: eval "$(roadloop env ingest)".',
    ),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    add_commands(app, COMMANDS)
