"""Options that several commands have, each spelt and explained once."""

from typing import Annotated

import typer

Bootstrap = Annotated[str, typer.Option("--kafka", envvar="ROADLOOP_KAFKA_BOOTSTRAP", help="host:port of a broker")]
Postgres = Annotated[
    str, typer.Option("--postgres", envvar="ROADLOOP_POSTGRES_DSN", help="DSN of the service's own role")
]
Tenant = Annotated[str, typer.Option("--tenant", help="whose it is")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
