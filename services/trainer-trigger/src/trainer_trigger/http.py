"""What researchers reach over HTTP: specs, runs, models, offers. Each sees only their own tenant."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from roadloop_runtime.service.problem_responses import answer_with_problems
from roadloop_runtime.service.problems import Problem
from roadloop_runtime.storage.objects import ObjectStore
from roadloop_runtime.storage.postgres import Pool
from trainer_trigger.intake import offers
from trainer_trigger.intake.accept_spec import accept_spec
from trainer_trigger.json_views import described, described_version
from trainer_trigger.tables import model_table, researcher_table, run_table, spec_table
from trainer_trigger.tables.model_table import tenant_of
from trainer_trigger.tables.researcher_table import Researcher
from trainer_trigger.tables.run import Offer
from trainer_trigger.tables.spec import INSTEAD, Spec

UPLOAD_FOR = timedelta(minutes=15)
MAX_BODY_BYTES = 1_000_000
Model = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,40}\.[a-z0-9][a-z0-9-]{0,62}$")]


class UploadWanted(BaseModel):
    """A file somebody wants to upload: a set (zip) or a model's file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def http_app(pool: Pool, store: ObjectStore, *, datasets_bucket: str, models_bucket: str) -> FastAPI:
    """Make the app."""
    app = FastAPI(title="Roadloop trainer-trigger", version="1", docs_url=None, redoc_url=None)
    answer_with_problems(app, max_body_bytes=MAX_BODY_BYTES)
    authenticate = _authenticator(pool)
    Caller = Annotated[Researcher, Depends(authenticate)]
    _add_specs(app, Caller, pool, store, datasets_bucket)
    _add_runs(app, Caller, pool)
    _add_models(app, Caller, pool, store, models_bucket)
    _add_uploads(app, Caller, store, {"datasets": datasets_bucket, "models": models_bucket})
    return app


def _authenticator(pool: Pool) -> Callable[[Request], Awaitable[Researcher]]:
    async def authenticate(request: Request) -> Researcher:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = await researcher_table.of_token(pool, token) if scheme.lower() == "bearer" and token else None
        if found is None:
            detail = "send Authorization: Bearer with a token that is not revoked (roadloop researchers enrol)"
            raise Problem(401, "unauthenticated", detail)
        return found

    return authenticate


def _own(caller: Researcher, model: str) -> None:
    """Another tenant's model looks as if it were not there."""
    if tenant_of(model) != caller.tenant:
        raise Problem(
            404, "unknown_model", f"{model} is none of {caller.tenant}'s models: they end with .{caller.tenant}"
        )


def _add_specs(app: FastAPI, Caller: Any, pool: Pool, store: ObjectStore, bucket: str) -> None:
    @app.put("/v1/specs/{model}")
    async def put_spec(model: Model, spec: Spec, caller: Caller, response: Response) -> Spec:
        _own(caller, model)
        if spec.has_old_limit:
            response.headers["Warning"] = f'299 - "max_seconds: {INSTEAD}"'
        await accept_spec(pool, store, bucket, model=model, spec=spec, by=caller.name, now=datetime.now(UTC))
        return spec

    @app.get("/v1/specs/{model}")
    async def get_spec(model: Model, caller: Caller) -> Spec:
        _own(caller, model)
        spec = await spec_table.get(pool, model)
        if spec is None:
            raise Problem(404, "no_spec", f"{model} has no spec yet: PUT one here")
        return spec


def _add_runs(app: FastAPI, Caller: Any, pool: Pool) -> None:
    @app.get("/v1/runs")
    async def list_runs(
        caller: Caller, model: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Mapping[str, Any]:
        runs = await run_table.listed(pool, tenant=caller.tenant, model=model, limit=limit)
        return {"runs": [described(run) for run in runs]}

    @app.get("/v1/runs/{run_id}")
    async def get_run(run_id: str, caller: Caller) -> Mapping[str, Any]:
        run = await run_table.get(pool, run_id)
        if run is None or run.tenant != caller.tenant:
            raise Problem(404, "unknown_run", f"{run_id} is none of {caller.tenant}'s runs: GET /v1/runs lists them")
        return described(run)


def _add_models(app: FastAPI, Caller: Any, pool: Pool, store: ObjectStore, bucket: str) -> None:
    @app.get("/v1/models/{model}")
    async def get_model(model: Model, caller: Caller) -> Mapping[str, Any]:
        _own(caller, model)
        versions = await model_table.listed(pool, model=model)
        if not versions:
            raise Problem(404, "unknown_model", f"{model} has no version yet (roadloop models seed)")
        return {"model": model, "versions": [described_version(version) for version in versions]}

    @app.post("/v1/models/{model}/offers", status_code=202)
    async def post_offer(model: Model, offer: Offer, caller: Caller, response: Response) -> Mapping[str, Any]:
        _own(caller, model)
        run, is_new = await offers.queue_offer(pool, store, bucket, model=model, offer=offer, now=datetime.now(UTC))
        response.headers["Location"] = f"/v1/runs/{run.run_id}"
        response.status_code = 202 if is_new else 200
        return described(run)


def _add_uploads(app: FastAPI, Caller: Any, store: ObjectStore, buckets: Mapping[str, str]) -> None:
    @app.post("/v1/uploads/{place}")
    async def post_upload(place: str, wanted: UploadWanted, caller: Caller) -> Mapping[str, Any]:
        if place not in buckets:
            raise Problem(404, "unknown_place", f"{place} takes no uploads: use {' or '.join(sorted(buckets))}")
        key = f"{caller.tenant}/uploaded/{wanted.sha256}/{wanted.name}"
        url = store.presign_put(buckets[place], key, UPLOAD_FOR)
        return {"put": url, "uri": f"s3://{buckets[place]}/{key}", "expires_in_s": UPLOAD_FOR.total_seconds()}
