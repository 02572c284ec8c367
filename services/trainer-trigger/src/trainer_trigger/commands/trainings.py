"""Commands about trainings: specs and runs."""

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from roadloop_runtime.cli.options import AsJson, Postgres, Tenant
from roadloop_runtime.cli.terminal import show_rows
from roadloop_runtime.storage.objects import ObjectStore, open_store
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.fields import ObjectRef
from trainer_trigger.commands.terminal import (
    AccessKey,
    Endpoint,
    Model,
    SecretKey,
    Zip,
    check_names,
    moment,
    print_json,
    with_pool,
)
from trainer_trigger.intake.accept_spec import accept_spec
from trainer_trigger.json_views import run_to_json
from trainer_trigger.tables import run_table
from trainer_trigger.tables.spec import HANG_AFTER_S, INSTEAD, GatePolicy, Spec


def set_spec(
    *,
    postgres: Postgres,
    s3_endpoint: Endpoint,
    s3_access_key: AccessKey,
    s3_secret_key: SecretKey,
    tenant: Tenant,
    model: Model,
    min_labels: Annotated[int, typer.Option()],
    base_set: Zip,
    validation_set: Zip,
    steps: Annotated[int, typer.Option()],
    patience: Annotated[
        int, typer.Option(help="evaluations on a held-out tenth without gain that end it; 0: none")
    ] = 0,
    hang_after_s: Annotated[
        float | None, typer.Option(help=f"nothing has moved for so long: the run fails [default: {HANG_AFTER_S:g}]")
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(help="older name: taken as --hang-after-s", hidden=True)] = None,
    seed: int = 1,
    label_weight: float = 3.0,
    cooldown_s: float = 60.0,
    min_gain: float = GatePolicy().min_gain,
    max_condition_loss: float = GatePolicy().max_condition_loss,
    min_confidence: float = GatePolicy().min_confidence,
    bucket: str = "datasets",
) -> None:
    """Upload both sets and store the spec; it is checked as the HTTP interface checks it."""
    check_names(tenant, model)
    store = open_store(s3_endpoint, s3_access_key, s3_secret_key)

    async def put(pool: Pool) -> None:
        guards = {"hang_after_s": hang_after_s, "max_seconds": max_seconds}
        spec = Spec(
            min_labels=min_labels,
            base_set=await _put_zip(store, bucket, tenant, base_set),
            validation_set=await _put_zip(store, bucket, tenant, validation_set),
            steps=steps,
            patience=patience,
            seed=seed,
            label_weight=label_weight,
            cooldown_s=cooldown_s,
            gate=GatePolicy(min_gain=min_gain, max_condition_loss=max_condition_loss, min_confidence=min_confidence),
            **{name: value for name, value in guards.items() if value is not None},
        )
        await accept_spec(pool, store, bucket, model=model, spec=spec, by="admin", now=datetime.now(UTC))
        typer.echo(f"{model} trains from {min_labels} new labels on")
        if spec.has_old_limit:
            typer.echo(f"--max-seconds: {INSTEAD}", err=True)

    with_pool(postgres, put)


def list_runs(
    postgres: Postgres, tenant: str | None = None, model: str | None = None, limit: int = 20, as_json: AsJson = False
) -> None:
    """Show runs, the youngest first."""
    runs = with_pool(postgres, lambda pool: run_table.listed(pool, tenant=tenant, model=model, limit=limit))
    if as_json:
        print_json([run_to_json(run) for run in runs])
        return
    show_rows(
        ("run", "model", "kind", "state", "labels", "version", "gain", "changed", "detail"),
        [
            (
                *(run.run_id, run.model, run.kind.value, run.state.value, str(run.labels)),
                str(run.candidate_version or ""),
                f"{run.metrics['gain']:+.3f}" if "gain" in run.metrics else "",
                *(moment(run.changed_at), run.detail),
            )
            for run in runs
        ],
        frozenset({"labels", "version", "gain"}),
    )


async def _put_zip(store: ObjectStore, bucket: str, tenant: str, path: Path) -> ObjectRef:
    content = await asyncio.to_thread(path.read_bytes)
    digest = hashlib.sha256(content).hexdigest()
    return await store.put(bucket, f"{tenant}/sets/{digest}.zip", content, "application/zip")
