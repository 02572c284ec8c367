"""What HTTP says when it refuses (RFC 9457): a stable type, and a detail that says what, where and what to do."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse


class Problem(Exception):
    """A refusal. `kind` is the stable last part of the problem's type."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail


def answer(status: int, kind: str, detail: str) -> JSONResponse:
    body = {"type": f"/problems/{kind}", "title": kind.replace("-", " "), "status": status, "detail": detail}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers, "application/problem+json")


def speak_problem_json(app: FastAPI) -> None:
    """Make every refusal of an app a problem document."""

    async def refuse(_: Request, problem: Exception) -> JSONResponse:
        if not isinstance(problem, Problem):
            raise problem
        return answer(problem.status, problem.kind, problem.detail)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return answer(422, "invalid-request", f"{where}: {first['msg']}; send what the OpenAPI document describes")

    app.add_exception_handler(Problem, refuse)
    app.add_exception_handler(RequestValidationError, invalid)
