"""What FastAPI answers with where a request is refused or fails: always a problem's document."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from roadloop_runtime.outcome import Transient
from roadloop_runtime.service.problems import Problem
from roadloop_runtime.storage.postgres import DATABASE_AWAY

log = structlog.get_logger()
RETRY_AFTER = {"Retry-After": "3"}


def to_response(problem: Problem) -> JSONResponse:
    """Write a problem as its document."""
    body = {"type": f"/problems/{problem.kind}", "title": problem.title, "status": problem.status}
    content = body | {"detail": problem.detail} | problem.more
    return JSONResponse(content, problem.status, problem.headers, "application/problem+json")


def make_unavailable(what: str) -> Problem:
    detail = f"{what} does not answer now: send the same request again in a few seconds, nothing is done twice"
    return Problem(503, "unavailable", detail, headers=RETRY_AFTER)


def answer_with_problems(app: FastAPI) -> None:
    """Answer with a problem whatever goes wrong."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    for away in (Transient, *DATABASE_AWAY):
        app.add_exception_handler(away, _answer_away)
    app.add_exception_handler(Exception, _answer_failure)


async def _answer_problem(_: Request, error: Exception) -> JSONResponse:
    return to_response(error if isinstance(error, Problem) else Problem(500, "failed", "the service failed"))


async def _answer_http_error(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    phrase = HTTPStatus(status).phrase
    detail = f"{request.method} {ascii(request.scope['path'])[:140]}: {phrase}; see /openapi.json for what there is"
    headers = error.headers if isinstance(error, HTTPException) else None
    return to_response(Problem(status, phrase.lower().replace(" ", "-"), detail, title=phrase, headers=headers))


async def _answer_invalid_request(_: Request, error: Exception) -> JSONResponse:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": "invalid"}
    field = ".".join(str(part) for part in first["loc"] if part != "body")
    detail = f"{field or 'the body'}: {first['msg']}; send what the schema at /openapi.json describes"
    return to_response(Problem(422, "invalid-request", detail, more={"field": field}))


async def _answer_away(_: Request, error: Exception) -> JSONResponse:
    log.warning("dependency_away", error=f"{type(error).__name__}: {error}")
    return to_response(make_unavailable(error.dependency if isinstance(error, Transient) else "the database"))


async def _answer_failure(_: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", exc_info=error)
    detail = "the service failed on this request and wrote why to its log: tell its operators, then try again"
    return to_response(Problem(500, "failed", detail))
