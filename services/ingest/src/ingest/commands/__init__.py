"""The commands of ingest: vehicles and the books. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_command, add_group


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    vehicles = add_group(app, "vehicles", "Who may upload.")
    add_command(
        vehicles,
        "enrol",
        "ingest.commands.vehicles:enrol",
        "Make a vehicle's key and enrol it. "
        "The private key is written once, to --key or VEHICLE.pem, and kept nowhere.",
    )
    add_command(vehicles, "revoke", "ingest.commands.vehicles:revoke", "Refuse a vehicle's key from now on.")
    add_command(vehicles, "list", "ingest.commands.vehicles:list_vehicles", "List the vehicles.")
    add_command(
        vehicles,
        "token",
        "ingest.commands.vehicles:token",
        "Print a bearer token by a vehicle's key, good for 12 hours.",
    )
    add_command(
        app, "books", "ingest.commands.books:books", "Show both books; the exit code says whether they balance."
    )
