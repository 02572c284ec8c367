"""Errors of the HTTP interface: RFC 9457, with a stable type and a detail that says what to do."""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from roadloop_runtime.outcome import Transient
from trainer_trigger.check_spec import Unfit

TYPE = "urn:roadloop:problem:"
RETRY_AFTER_S = "5"
MAX_BODY_BYTES = 1_000_000


class Problem(Exception):
    """An answer that is an error. `kind` is the stable end of the type."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = headers


def answer(
    status: int, kind: str, detail: str, *, field: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Write a problem document."""
    body = {"type": TYPE + kind, "title": kind.replace("_", " "), "status": status, "detail": detail}
    content = body | {"field": field} if field else body
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def add_to(app: FastAPI) -> None:
    """Make the app answer every error as a problem, and refuse large bodies before they are read."""

    @app.middleware("http")
    async def bound_body(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "" if "transfer-encoding" in request.headers else "0")
        if not length.isdigit():
            return answer(411, "length_required", "send the body with a Content-Length")
        if int(length) > MAX_BODY_BYTES:
            return answer(413, "too_large", f"a body has at most {MAX_BODY_BYTES} bytes: files go to S3")
        return await go_on(request)

    async def problem(_: Request, error: Problem) -> JSONResponse:
        return answer(error.status, error.kind, str(error), headers=error.headers)

    async def unfit(_: Request, error: Unfit) -> JSONResponse:
        return answer(422, error.reason.value, str(error), field=error.field)

    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "body")
        detail = f"{field or 'the body'}: {first['msg']}; see the schema at /openapi.json"
        return answer(422, "invalid", detail, field=field)

    async def transient(_: Request, error: Transient) -> JSONResponse:
        return answer(503, "dependency_down", f"{error}: try again", headers={"Retry-After": RETRY_AFTER_S})

    async def other(_: Request, error: HTTPException) -> JSONResponse:
        kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        return answer(error.status_code, kind, str(error.detail), headers=error.headers)

    for kind, handler in (
        (Problem, problem),
        (Unfit, unfit),
        (RequestValidationError, invalid),
        (Transient, transient),
        (HTTPException, other),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]
