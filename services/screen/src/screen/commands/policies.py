"""The command `roadloop policies set`."""

import asyncio
import json
from typing import Annotated

import typer
from pydantic import ValidationError

from roadloop_runtime.cli.kafka_errors import report_kafka_errors
from roadloop_runtime.cli.options import Bootstrap
from roadloop_schemas.fields import is_tenant
from roadloop_schemas.policies import ScreenPolicy
from screen.state_topics.policy_topic import publish


def set_policy(
    kafka: Bootstrap,
    tenant: Annotated[str, typer.Option("--tenant")],
    policy: Annotated[str, typer.Argument(help='JSON of ScreenPolicy without its version, such as {"threshold": 0.4}')],
) -> None:
    """Give a tenant a new policy; workers follow within a second."""
    body = read_policy(tenant, policy)
    with report_kafka_errors(kafka):
        version = asyncio.run(publish(kafka, tenant, lambda _: body))
    typer.echo(f"{tenant} has policy version {version}")


def read_policy(tenant: str, policy: str) -> ScreenPolicy:
    """Read a policy as it was typed, strictly: a misspelt field would silently keep its default."""
    if not is_tenant(tenant):
        raise typer.BadParameter(f"tenant {tenant!r}: use lower-case letters, digits and hyphens")
    try:
        given = json.loads(policy)
        if unknown := given.keys() - (ScreenPolicy.model_fields.keys() - {"version"}):
            raise typer.BadParameter(f"policy: {', '.join(sorted(unknown))} is no field of ScreenPolicy")
        return ScreenPolicy.model_validate({**given, "version": 0})
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"policy: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise typer.BadParameter(f"policy: a JSON object is wanted ({error})") from error
