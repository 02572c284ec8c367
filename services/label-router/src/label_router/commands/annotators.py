"""The commands of label-router: who may label, and which classes a tenant asks for."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from label_router.submission import CLASS_NAME
from label_router.tables import annotator_table, queue_classes_table
from label_router.tables.annotator_table import Annotator
from roadloop_runtime.cli.database import ask_database
from roadloop_runtime.cli.options import AsJson, Postgres
from roadloop_schemas.fields import is_tenant

T = TypeVar("T")
MAX_NAME_CHARACTERS = 100
MAX_CLASSES = 1_000


def tenant_name(text: str) -> str:
    if not is_tenant(text):
        raise typer.BadParameter("a tenant is 1 to 63 of a-z, 0-9 and -, with no - at either end")
    return text


def person_name(text: str) -> str:
    if not text.strip() or len(text) > MAX_NAME_CHARACTERS or not text.isprintable():
        raise typer.BadParameter(f"a name is 1 to {MAX_NAME_CHARACTERS} printable characters")
    return text.strip()


def class_list(text: str) -> str:
    names = split_classes(text)
    wrong = next((name for name in names if not CLASS_NAME.fullmatch(name)), None)
    if wrong is not None:
        raise typer.BadParameter(f"{wrong!r}: 1 to 64 letters, digits, spaces or . _ + -, starting with the former two")
    if len(names) > MAX_CLASSES:
        raise typer.BadParameter(f"at most {MAX_CLASSES} classes")
    return text


def split_classes(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, each once, in their order."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text.strip() else ()


TenantName = Annotated[str, typer.Option("--tenant", callback=tenant_name)]
PersonName = Annotated[str, typer.Option("--name", callback=person_name, help="shown to admins, never in labels")]
Classes = Annotated[str, typer.Option("--classes", callback=class_list, help="comma-separated; '' takes every class")]


def enrol(tenant: TenantName, name: PersonName, postgres: Postgres) -> None:
    """Let somebody label for a tenant; print the token, which is shown this once."""
    token = annotator_table.new_token()
    annotator = Annotator(annotator_table.new_annotator_id(), tenant)
    ask_database(postgres, lambda c: annotator_table.enrol(c, annotator, name, token=token, now=datetime.now(UTC)))
    typer.echo(f"annotator {annotator.annotator_id} enrolled for {tenant}; the token is shown this once:", err=True)
    typer.echo(token)


def revoke(annotator_id: str, postgres: Postgres) -> None:
    """Refuse an annotator's token from now on. What they labelled stays."""
    if not ask_database(postgres, lambda c: annotator_table.revoke(c, annotator_id, now=datetime.now(UTC))):
        typer.echo(f"there is no annotator {annotator_id}: see `roadloop annotators list`", err=True)
        raise typer.Exit(1)
    typer.echo(f"annotator {annotator_id} revoked")


def list_annotators(postgres: Postgres, as_json: AsJson = False) -> None:
    """List who may label, and who might once."""
    found = ask_database(postgres, annotator_table.enrolments)
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in found], default=datetime.isoformat, ensure_ascii=False))
        return
    for entry in found:
        state = f"revoked {entry.revoked_at:%Y-%m-%d}" if entry.revoked_at else "active"
        typer.echo(f"{entry.annotator_id}  {entry.tenant}  {entry.enrolled_at:%Y-%m-%d}  {state}  {entry.name}")


def set_queue(tenant: TenantName, classes: Classes, postgres: Postgres) -> None:
    """Say which classes a tenant's annotators may use; this replaces what was set before."""
    ask_database(postgres, lambda c: queue_classes_table.set_classes(c, tenant, split_classes(classes)))
    typer.echo(f"{tenant}: {', '.join(split_classes(classes)) or 'every class'}")
