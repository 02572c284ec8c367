"""The commands of the local stack. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_command


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    waits = "Start the local stack and wait until it answers; what runs already goes on."
    add_command(app, "up", "roadloop_local.commands.stack:up", waits)
    stops = "Stop the local stack; nothing of it stays but its data."
    add_command(app, "down", "roadloop_local.commands.stack:down", stops)
    shows = "Show every server and service: state, process, ports, uptime, health."
    add_command(app, "status", "roadloop_local.commands.status:show_status", shows)
    add_command(app, "logs", "roadloop_local.commands.logs:print_log", "Print what a program said.")
    prints = 'Print a service\'s settings for a shell: eval "$(roadloop env ingest)".'
    add_command(app, "env", "roadloop_local.commands.env:print_environment", prints)
