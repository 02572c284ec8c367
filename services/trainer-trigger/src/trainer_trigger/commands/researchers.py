"""Commands about researchers: who may describe trainings."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from roadloop_runtime.cli.options import AsJson, Postgres, Tenant
from roadloop_runtime.cli.terminal import show_rows
from roadloop_schemas.fields import is_tenant
from trainer_trigger.commands.terminal import moment, print_json, refuse, with_pool
from trainer_trigger.tables import researcher_table

Name = Annotated[str, typer.Option("--name")]


def enrol_researcher(postgres: Postgres, tenant: Tenant, name: Name) -> None:
    """Make a token. It is shown this once; what is kept cannot be turned back into it."""
    if not is_tenant(tenant):
        refuse(f"{tenant!r} is no tenant: use 1 to 63 of a-z, 0-9 and -")
    token = with_pool(postgres, lambda pool: researcher_table.enrol(pool, tenant, name, now=datetime.now(UTC)))
    if token is None:
        refuse(f"{name} has a token for {tenant}: revoke it first (roadloop researchers revoke)")
    typer.echo(token)


def revoke_researcher(postgres: Postgres, tenant: Tenant, name: Name) -> None:
    """End a token at once."""
    if not with_pool(postgres, lambda pool: researcher_table.revoke(pool, tenant, name, now=datetime.now(UTC))):
        refuse(f"{name} has no token for {tenant}: roadloop researchers list shows who has one")
    typer.echo(f"revoked {name} of {tenant}")


def list_researchers(postgres: Postgres, as_json: AsJson = False) -> None:
    """Show who was enrolled, and whose token is revoked."""
    found = with_pool(postgres, researcher_table.listed)
    rows = [(item.tenant, item.name, moment(item.enrolled_at), moment(item.revoked_at)) for item in found]
    head = ("tenant", "name", "enrolled", "revoked")
    print_json([dict(zip(head, row, strict=True)) for row in rows]) if as_json else show_rows(head, rows, frozenset())
