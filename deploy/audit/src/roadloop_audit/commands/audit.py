"""The command `roadloop audit`."""

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError as ClientError
from asyncpg import PostgresError
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from roadloop_audit.check import Finding, audit
from roadloop_audit.facts import Facts
from roadloop_audit.places import places_of
from roadloop_audit.read import Places, read_facts
from roadloop_local import stack
from roadloop_local.errors import StackError

PREFIX = "ROADLOOP_AUDIT_"
DOES_NOT_ADD_UP, COULD_NOT_READ = 1, 2
SHOWN = 200


class Given(BaseSettings):
    """Where a system is that is no local stack."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    bootstrap: str
    ingest_dsn: SecretStr
    labels_dsn: SecretStr
    training_dsn: SecretStr
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: SecretStr

    def to_places(self) -> Places:
        return Places(
            self.bootstrap,
            self.ingest_dsn.get_secret_value(),
            self.labels_dsn.get_secret_value(),
            self.training_dsn.get_secret_value(),
            self.s3_endpoint,
            self.s3_access_key,
            self.s3_secret_key.get_secret_value(),
        )


def run_audit(
    data: Annotated[Path, typer.Option(envvar="ROADLOOP_DATA", help="A local stack's folder.")] = Path(".roadloop"),
    patience_s: Annotated[float, typer.Option(min=0, help="What is younger may still be on its way.")] = 120,
    settled: Annotated[bool, typer.Option("--settled", help="Nothing is on its way: lag must be 0.")] = False,
    objects: Annotated[bool, typer.Option(help="Ask S3 for the object of every frame.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare what Kafka, Postgres and S3 say of every frame, and print what does not add up.

    Reads only, and shares no code with the services. Of a system that is no local stack, ROADLOOP_AUDIT_BOOTSTRAP,
    _INGEST_DSN, _LABELS_DSN, _TRAINING_DSN, _S3_ENDPOINT, _S3_ACCESS_KEY and _S3_SECRET_KEY say where it is.
    Exit code 0: all adds up; 1: something does not; 2: a server could not be read.
    """
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        facts = asyncio.run(read_facts(choose_places(data), objects=objects))
    except (StackError, ValidationError, ClientError, PostgresError, LookupError, OSError, TimeoutError) as error:
        typer.echo(f"cannot read: {type(error).__name__}: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(COULD_NOT_READ) from None
    findings = audit(facts, patience_s, settled=settled)
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        show_findings(facts, findings)
    raise typer.Exit(DOES_NOT_ADD_UP if findings else 0)


def choose_places(data: Path) -> Places:
    """Return where the system is: as the environment says, else a local stack."""
    if any(name.startswith(PREFIX) for name in os.environ):
        return Given().to_places()  # pydantic names every variable that is missing
    return places_of(stack.open_stack(data))


def show_findings(facts: Facts, findings: list[Finding]) -> None:
    console = Console()
    console.print(
        f"{len(facts.uploads)} uploads, {len(facts.frames)} frames, {len(facts.screened.records)} verdicts, "
        f"{len(facts.tasks)} tasks, {len(facts.labels)} labels, {len(facts.runs)} trainings"
    )
    if not findings:
        console.print("all adds up")
        return
    table = Table("kind", "id", "what does not add up")
    for finding in findings[:SHOWN]:
        table.add_row(finding.kind, finding.subject, finding.detail)
    console.print(table)
    console.print(f"{len(findings)} findings" + (f", the first {SHOWN} shown" if len(findings) > SHOWN else ""))
