"""The commands of ingest: vehicles and the books. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_commands

GROUPS = {
    "vehicles": "Who may upload.",
}
COMMANDS = {
    "vehicles enrol": (
        "ingest.commands.vehicles:enrol",
        "Make a vehicle's key and enrol it. The private key is written once, to --key or VEHICLE.pem, and "
        "kept nowhere.",
    ),
    "vehicles revoke": (
        "ingest.commands.vehicles:revoke",
        "Refuse a vehicle's key from now on.",
    ),
    "vehicles list": (
        "ingest.commands.vehicles:list_vehicles",
        "List the vehicles.",
    ),
    "vehicles token": (
        "ingest.commands.vehicles:print_token",
        "Print a bearer token by a vehicle's key, good for 12 hours.",
    ),
    "books": (
        "ingest.commands.books:show_books",
        "Show both books; the exit code says whether they balance.",
    ),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    add_commands(app, COMMANDS, GROUPS)
