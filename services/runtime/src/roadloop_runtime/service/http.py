"""The one shape of a service's HTTP: routes, what they depend on, who asks, and problems for all that is refused."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from roadloop_runtime.service.problem_responses import answer_with_problems
from roadloop_runtime.service.problems import Problem

scheme = HTTPBearer(auto_error=False)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]


def make_http_app(title: str, routes: APIRouter, dependencies: object, *, max_body_bytes: int) -> FastAPI:
    """Make an app of routes. `dependencies` is what they work with: `Depends(dependencies_of)` gives it to them."""
    app = FastAPI(title=title, version="1", docs_url=None, redoc_url=None)
    app.state.dependencies = dependencies
    app.include_router(routes)
    answer_with_problems(app, max_body_bytes=max_body_bytes)
    return app


async def dependencies_of(request: Request) -> Any:
    """Return what the app was made with."""
    return request.app.state.dependencies


async def read_token(credentials: Credentials) -> str:
    """Return the bearer token of a request. Raises Problem where there is none."""
    if credentials is None:
        raise unauthenticated(
            "the header Authorization has no token: send 'Bearer TOKEN' with the token you were enrolled with"
        )
    return credentials.credentials


def unauthenticated(detail: str) -> Problem:
    """Refuse somebody who is not known; `detail` says what to send and where it comes from."""
    return Problem(401, "unauthenticated", detail)
