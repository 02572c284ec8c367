"""Commands about models: what serves, the first version, offers."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from roadloop_runtime.cli.options import AsJson, Postgres, Tenant
from roadloop_runtime.cli.terminal import show_rows
from roadloop_runtime.storage.objects import open_store
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.models import PrelabelPolicy
from trainer_trigger.commands.terminal import (
    AccessKey,
    Endpoint,
    Folder,
    Model,
    SecretKey,
    check_names,
    moment,
    print_json,
    with_pool,
)
from trainer_trigger.intake import offers
from trainer_trigger.json_views import run_to_json, version_to_json
from trainer_trigger.tables import model_table
from trainer_trigger.tables.run import Offer
from trainer_trigger.training import release


def list_models(postgres: Postgres, tenant: str | None = None, all: bool = False, as_json: AsJson = False) -> None:
    """Show what serves now, what is tried on live frames, and what was refused. With --all every version."""
    versions = with_pool(postgres, lambda pool: model_table.listed(pool, tenant=tenant))
    shown = [item for item in versions if all or item.serving_since or item.rollout]
    if as_json:
        print_json([{"model": item.release.model, **version_to_json(item)} for item in shown])
        return
    show_rows(
        ("model", "version", "serving since", "mAP50", "released"),
        [
            (
                *(item.release.model, str(item.release.version), item.rollout or moment(item.serving_since)),
                *("" if item.map50 is None else f"{item.map50:.3f}", moment(item.release.released_at)),
            )
            for item in shown
        ],
        frozenset({"version", "mAP50"}),
    )


def seed_model(
    *,
    postgres: Postgres,
    s3_endpoint: Endpoint,
    s3_access_key: AccessKey,
    s3_secret_key: SecretKey,
    tenant: Tenant,
    model: Model,
    folder: Folder,
    second_model: Annotated[str | None, typer.Option(help="the fixed other model")] = None,
    prelabel_from: Annotated[float, typer.Option(min=0, max=1, help="annotators see detections from this score on")] = (
        release.PRELABELS.min_score
    ),
    bucket: str = "models",
) -> None:
    """Release a model's first version, without a gate."""
    check_names(tenant, model)
    store = open_store(s3_endpoint, s3_access_key, s3_secret_key)

    async def seed(pool: Pool) -> None:
        released = await release.seed(
            *(pool, store, bucket),
            model=model,
            folder=folder,
            second_model=second_model,
            now=datetime.now(UTC),
            prelabels=PrelabelPolicy(min_score=prelabel_from),
        )
        typer.echo(f"released {model} version {released.version}")

    with_pool(postgres, seed)


def offer_model(
    *,
    postgres: Postgres,
    s3_endpoint: Endpoint,
    s3_access_key: AccessKey,
    s3_secret_key: SecretKey,
    tenant: Tenant,
    model: Model,
    folder: Folder,
    bucket: str = "models",
    as_json: AsJson = False,
) -> None:
    """Offer a ready model: it is measured beside what serves, and goes live only through the gate."""
    check_names(tenant, model)
    store = open_store(s3_endpoint, s3_access_key, s3_secret_key)

    async def offer(pool: Pool) -> None:
        files = await release.upload(store, bucket, f"{tenant}/{model}/offers", folder)
        offered = Offer(weights=files.weights, checkpoint=files.checkpoint, card=files.card)
        run, is_new = await offers.queue_offer(pool, store, bucket, model=model, offer=offered, now=datetime.now(UTC))
        if as_json:
            print_json(run_to_json(run))
            return
        typer.echo(f"{'queued' if is_new else 'known already'}: run {run.run_id}, {run.state} {run.detail}".rstrip())

    with_pool(postgres, offer)


def rollback_model(
    *,
    postgres: Postgres,
    tenant: Tenant,
    model: Model,
    to: Annotated[int | None, typer.Option(min=1, help="the version; else the one that served before")] = None,
) -> None:
    """Let an older version serve again, at once, with its thresholds and pre-labels; or take back one on its way."""
    check_names(tenant, model)

    async def roll_back(pool: Pool) -> None:
        released = await release.roll_back(pool, model, to=to, now=datetime.now(UTC))
        typer.echo(
            f"released {model} version {released.version} again, in place of version {released.previous_version}"
        )

    with_pool(postgres, roll_back)
