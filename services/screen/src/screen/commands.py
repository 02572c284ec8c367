"""The commands of screening: policies, and why a frame has its verdict."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from roadloop_runtime.kafka import Kafka
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition, event
from roadloop_runtime.terminal import Bootstrap, one_line_errors
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import is_tenant
from roadloop_schemas.frames import ScreenPolicy
from screen.why_command import why

TOPIC = "screen.policy.v1"


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    policies = typer.Typer(help="What screening is asked to do.", no_args_is_help=True)
    policies.command("set")(set_policy)
    app.add_typer(policies, name="policies")
    app.command("why")(why)


def set_policy(
    kafka: Bootstrap,
    tenant: Annotated[str, typer.Option("--tenant")],
    policy: Annotated[str, typer.Argument(help='JSON of ScreenPolicy without its version, such as {"threshold": 0.4}')],
) -> None:
    """Give a tenant a new policy; workers follow within a second."""
    body = read_policy(tenant, policy)
    with one_line_errors(kafka):
        version = asyncio.run(publish(kafka, tenant, body))
    typer.echo(f"{tenant} has policy version {version}")


async def publish(bootstrap: str, tenant: str, policy: ScreenPolicy) -> int:
    """Write the next version of a tenant's policy and return it."""
    writer = await Kafka(bootstrap, "roadloop").fence(TOPIC)
    try:
        records = await read_partition(bootstrap, Partition(TOPIC, 0))
        mine = [ScreenPolicy.model_validate_json(r.value or b"{}") for r in records if r.key == tenant.encode()]
        version = max((known.version for known in mine), default=0) + 1
        body = policy.model_copy(update={"version": version})
        said = event(
            TOPIC,
            body,
            id=derive_id("policy", tenant, version),
            source="/roadloop/screen",
            tenant=tenant,
            key=tenant,
            time=datetime.now(UTC),
        )
        await writer.transact([said], {}, "")
    finally:
        await writer.close()
    return version


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
