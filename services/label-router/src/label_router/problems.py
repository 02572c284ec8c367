"""Refusals and failures as problem+json (RFC 9457)."""

from http import HTTPStatus

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from label_router.refusal import Refusal, unavailable

log = structlog.get_logger()
KIND = "/problems/"
OUTAGES = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)


def answer_with_problems(app: FastAPI) -> None:
    """Answer with a problem whatever goes wrong: a refusal, a wrong path or method, an outage, a fault of ours."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _not_routed)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _database_away)
    app.add_exception_handler(Exception, _failed)


def problem(refusal: Refusal, headers: dict[str, str] | None = None) -> JSONResponse:
    body = {
        "type": KIND + refusal.kind,
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
    }
    return JSONResponse(body | refusal.more, refusal.status, headers, "application/problem+json")


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)  # noqa: S101 registered for it alone
    return problem(error, {"WWW-Authenticate": "Bearer"} if error.status == 401 else None)


async def _not_routed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    phrase = HTTPStatus(error.status_code).phrase
    detail = f"{request.method} {ascii(request.scope['path'])[:140]}: {phrase}; see /openapi.json for what there is."
    kind = phrase.lower().replace(" ", "-")
    return problem(Refusal(error.status_code, kind, phrase, detail), dict(error.headers or {}))


async def _database_away(_: Request, error: Exception) -> JSONResponse:
    log.warning("postgres_away", error=f"{type(error).__name__}: {error}")
    return problem(unavailable(), {"Retry-After": "2"})


async def _failed(_: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", exc_info=error)
    detail = "The service failed on this request and wrote why to its log: tell its operators, then try again."
    return problem(Refusal(500, "failed", "The service failed", detail))
