"""What researchers reach over HTTP: specs, runs, models, offers. Each sees only their own tenant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from roadloop_runtime.service.http import dependencies_of, make_http_app, read_token, unauthenticated
from roadloop_runtime.service.problems import Problem
from roadloop_runtime.storage.objects import ObjectStore
from roadloop_runtime.storage.postgres import Pool
from trainer_trigger.intake import offers
from trainer_trigger.intake.accept_spec import accept_spec
from trainer_trigger.json_views import run_to_json, version_to_json
from trainer_trigger.tables import model_table, researcher_table, run_table, spec_table
from trainer_trigger.tables.model_table import tenant_of
from trainer_trigger.tables.researcher_table import Researcher
from trainer_trigger.tables.run import Offer
from trainer_trigger.tables.spec import INSTEAD, Spec
from trainer_trigger.upload_urls import sign_upload_url

MAX_BODY_BYTES = 1_000_000
Model = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,40}\.[a-z0-9][a-z0-9-]{0,62}$")]


routes = APIRouter(prefix="/v1")


@dataclass(frozen=True)
class Dependencies:
    """What the routes need. `now` is asked once per request."""

    pool: Pool
    store: ObjectStore
    datasets_bucket: str
    models_bucket: str
    now: Callable[[], datetime]


Needs = Annotated[Dependencies, Depends(dependencies_of)]


class UploadWanted(BaseModel):
    """A file somebody wants to upload: a set (zip) or a model's file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def make_app(needs: Dependencies) -> FastAPI:
    """Make the app."""
    return make_http_app("Roadloop trainer-trigger", routes, needs, max_body_bytes=MAX_BODY_BYTES)


async def authenticate(needs: Needs, token: Annotated[str, Depends(read_token)]) -> Researcher:
    """Return whose token the request carries. Raises Problem."""
    researcher = await researcher_table.of_token(needs.pool, token)
    if researcher is None:
        raise unauthenticated("this token is not known or revoked: send one of `roadloop researchers enrol`")
    return researcher


Caller = Annotated[Researcher, Depends(authenticate)]


async def own_model(model: Model, caller: Caller) -> str:
    """Return the model of the path. Raises Problem: another tenant's model looks as if it were not there."""
    if tenant_of(model) != caller.tenant:
        raise Problem(
            404, "unknown_model", f"{model} is none of {caller.tenant}'s models: they end with .{caller.tenant}"
        )
    return model


OwnModel = Annotated[str, Depends(own_model)]


@routes.put("/specs/{model}")
async def put_spec(model: OwnModel, spec: Spec, caller: Caller, needs: Needs, response: Response) -> Spec:
    """Store how a model is trained."""
    if spec.has_old_limit:
        response.headers["Warning"] = f'299 - "max_seconds: {INSTEAD}"'
    bucket, now = needs.datasets_bucket, needs.now()
    await accept_spec(needs.pool, needs.store, bucket, model=model, spec=spec, by=caller.name, now=now)
    return spec


@routes.get("/specs/{model}")
async def get_spec(model: OwnModel, needs: Needs) -> Spec:
    """Return how a model is trained."""
    spec = await spec_table.get(needs.pool, model)
    if spec is None:
        raise Problem(404, "no_spec", f"{model} has no spec yet: PUT one here")
    return spec


@routes.get("/runs")
async def list_runs(
    caller: Caller, needs: Needs, model: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Mapping[str, Any]:
    """List a tenant's runs, the newest first."""
    runs = await run_table.listed(needs.pool, tenant=caller.tenant, model=model, limit=limit)
    return {"runs": [run_to_json(run) for run in runs]}


@routes.get("/runs/{run_id}")
async def get_run(run_id: str, caller: Caller, needs: Needs) -> Mapping[str, Any]:
    """Return one run."""
    run = await run_table.get(needs.pool, run_id)
    if run is None or run.tenant != caller.tenant:
        raise Problem(404, "unknown_run", f"{run_id} is none of {caller.tenant}'s runs: GET /v1/runs lists them")
    return run_to_json(run)


@routes.get("/models/{model}")
async def get_model(model: OwnModel, needs: Needs) -> Mapping[str, Any]:
    """List the versions of a model."""
    versions = await model_table.listed(needs.pool, model=model)
    if not versions:
        raise Problem(404, "unknown_model", f"{model} has no version yet (roadloop models seed)")
    return {"model": model, "versions": [version_to_json(version) for version in versions]}


@routes.post("/models/{model}/offers", status_code=202)
async def post_offer(model: OwnModel, offer: Offer, needs: Needs, response: Response) -> Mapping[str, Any]:
    """Queue a run for a model that was made elsewhere; the same offer again is the same run."""
    bucket, now = needs.models_bucket, needs.now()
    run, is_new = await offers.queue_offer(needs.pool, needs.store, bucket, model=model, offer=offer, now=now)
    response.headers["Location"] = f"/v1/runs/{run.run_id}"
    response.status_code = 202 if is_new else 200
    return run_to_json(run)


@routes.post("/uploads/{place}")
async def post_upload(place: str, wanted: UploadWanted, caller: Caller, needs: Needs) -> Mapping[str, Any]:
    """Say where a set or a model's file is to be put."""
    buckets = {"datasets": needs.datasets_bucket, "models": needs.models_bucket}
    if place not in buckets:
        raise Problem(404, "unknown_place", f"{place} takes no uploads: use {' or '.join(sorted(buckets))}")
    return sign_upload_url(needs.store, buckets[place], caller.tenant, sha256=wanted.sha256, name=wanted.name)
