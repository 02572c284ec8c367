"""What the commands share: their options, the database, and how they print and refuse."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from roadloop_runtime.cli.database import report_database_errors
from roadloop_runtime.storage.postgres import Pool, open_pool
from roadloop_schemas.fields import is_tenant
from trainer_trigger.refusals import AlreadyReleased, BadFolder, NothingToRollBack, Unfit
from trainer_trigger.tables import model_table

T = TypeVar("T")
Endpoint = Annotated[str, typer.Option("--s3-endpoint", envvar="ROADLOOP_S3_ENDPOINT", help="http(s)://host:port")]
AccessKey = Annotated[str, typer.Option("--s3-access-key", envvar="ROADLOOP_S3_ACCESS_KEY")]
SecretKey = Annotated[str, typer.Option("--s3-secret-key", envvar="ROADLOOP_S3_SECRET_KEY")]
Model = Annotated[str, typer.Option("--model", help="ends with a dot and the tenant, as in detector.acme")]
Folder = Annotated[Path, typer.Option("--folder", help="with model.onnx, detector.json, checkpoint.npz")]
Zip = Annotated[Path, typer.Option(exists=True, dir_okay=False)]


def with_pool(dsn: str, work: Callable[[Pool], Awaitable[T]]) -> T:
    """Run `work` with a pool; what it refuses ends the command with one line."""

    async def run() -> T:
        pool = await open_pool(dsn, name="roadloop", size=2)
        try:
            return await work(pool)
        finally:
            await pool.close()

    try:
        with report_database_errors():
            return asyncio.run(run())
    except ValidationError as error:
        first = error.errors()[0]
        refuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    except Unfit as error:
        refuse(f"{error.field}: {error} ({error.reason})")
    except (AlreadyReleased, BadFolder, NothingToRollBack) as error:
        refuse(str(error))


def check_names(tenant: str, model: str) -> None:
    if not is_tenant(tenant) or model_table.tenant_of(model) != tenant or "." not in model:
        refuse(f"{model} is no model of {tenant}: it must end with .{tenant}, as in detector.{tenant}")


def refuse(line: str) -> NoReturn:
    typer.echo(line, err=True)
    raise typer.Exit(1)


def moment(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if moment else ""


def print_json(content: Any) -> None:
    typer.echo(json.dumps(content, default=str, indent=2))
