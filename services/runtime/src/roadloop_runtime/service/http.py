"""The one shape of a service's HTTP: routes, what they depend on, who asks, and how large a body may be."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from roadloop_runtime.service.problem_responses import answer_with_problems, to_response
from roadloop_runtime.service.problems import Problem

scheme = HTTPBearer(auto_error=False)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)]


def make_http_app(title: str, routes: APIRouter, dependencies: object, *, max_body_bytes: int) -> FastAPI:
    """Make an app of routes. `dependencies` is what they work with: `Depends(dependencies_of)` gives it to them."""
    app = FastAPI(title=title, version="1", docs_url=None, redoc_url=None)
    app.state.dependencies = dependencies
    app.include_router(routes)
    answer_with_problems(app)
    refuse_large_bodies(app, max_body_bytes)
    return app


def refuse_large_bodies(app: FastAPI, max_body_bytes: int) -> None:
    """Refuse a body that is too large, or does not say how large it is, before it is read."""

    async def bound_body(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "" if "transfer-encoding" in request.headers else "0")
        if not (length.isascii() and length.isdecimal()):
            return to_response(Problem(411, "length-required", "send the body with a Content-Length"))
        if int(length[:20]) > max_body_bytes:
            return to_response(Problem(413, "body-too-large", f"a body has at most {max_body_bytes} bytes"))
        return await go_on(request)

    app.middleware("http")(bound_body)


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
