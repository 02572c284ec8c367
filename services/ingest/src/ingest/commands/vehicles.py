"""The commands `roadloop vehicles enrol | revoke | list | token`."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich import print as show

from ingest import vehicle_table
from ingest.signature import make_key, make_token
from roadloop_runtime.cli.database import ask_database
from roadloop_runtime.cli.options import AsJson, Postgres, Tenant
from roadloop_schemas.fields import is_tenant


def enrol(vehicle: str, postgres: Postgres, tenant: Tenant, key: Annotated[Path | None, typer.Option()] = None) -> None:
    """Make a vehicle's key and enrol it. The private key is written once, to --key or VEHICLE.pem, and kept nowhere."""
    if not is_tenant(tenant) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", vehicle):
        raise typer.BadParameter("a tenant has lower-case letters, digits and hyphens; a vehicle also . _ :")
    path = key or Path(f"{vehicle}.pem")
    private, public = make_key()
    _write_new(path, private)
    try:
        is_new = ask_database(postgres, lambda c: vehicle_table.enrol(c, tenant, vehicle, public))
    except typer.Exit:
        path.unlink()  # a key that is not enrolled would only stand in the way of the next try
        raise
    if not is_new:
        path.unlink()
        raise typer.BadParameter(f"{tenant}/{vehicle} is enrolled already: revoke it first")
    show(f"{tenant}/{vehicle} is enrolled, its key is in {path}")


def _write_new(path: Path, private: str) -> None:
    """Write a key for its owner's eyes, before it is enrolled. A file that is there may be a key: it stays."""
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(private)
    except OSError as error:
        refusal = f"the key cannot be written to {path} ({error.strerror}): name another place with --key"
        raise typer.BadParameter(refusal) from error


def revoke(vehicle: str, postgres: Postgres, tenant: Tenant) -> None:
    """Refuse a vehicle's key from now on."""
    if not ask_database(postgres, lambda c: vehicle_table.revoke(c, tenant, vehicle)):
        raise typer.BadParameter(f"{tenant}/{vehicle} is not enrolled")
    show(f"{tenant}/{vehicle} is revoked")


def list_vehicles(postgres: Postgres, as_json: AsJson = False) -> None:
    """List the vehicles."""
    vehicles = ask_database(postgres, vehicle_table.list_all)
    if as_json:
        rows = [{"tenant": v.tenant, "vehicle": v.vehicle, "revoked": v.revoked_at is not None} for v in vehicles]
        typer.echo(json.dumps(rows))
        return
    for vehicle in vehicles:
        name, revoked = f"{vehicle.tenant}/{vehicle.vehicle}", "  revoked" if vehicle.revoked_at else ""
        show(f"{name}  enrolled {vehicle.enrolled_at:%Y-%m-%d}{revoked}")


def print_token(vehicle: str, tenant: Tenant, key: Annotated[Path | None, typer.Option()] = None) -> None:
    """Print a bearer token by a vehicle's key, good for 12 hours."""
    path = key or Path(f"{vehicle}.pem")
    if not path.is_file():
        raise typer.BadParameter(f"there is no key in {path}: name it with --key, or enrol the vehicle")
    typer.echo(make_token(tenant, vehicle, path.read_text(), datetime.now(UTC)))
