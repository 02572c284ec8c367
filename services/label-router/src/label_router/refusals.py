"""The requests that label-router refuses, and what their senders can do about it."""

from roadloop_runtime.service.http import unauthenticated
from roadloop_runtime.service.problems import Problem

MAX_BODY_BYTES = 64 * 1024


def unknown_annotator() -> Problem:
    return unauthenticated(
        "The header Authorization carries a token that is not known or revoked: send 'Bearer TOKEN' with the token "
        "you got when you were enrolled, or ask an admin for `roadloop annotators enrol`."
    )


def no_such_task(task_id: str) -> Problem:
    return Problem(
        404,
        "no-such-task",
        title="No such task",
        detail=f"Your tenant has no task {ascii(task_id)[:140]}: ask for one with POST /v1/tasks/next.",
    )


def lease_gone(task_id: str, why: str) -> Problem:
    return Problem(
        409,
        "lease-gone",
        title="This lease does not hold",
        detail=f"Task {task_id}: {why}. Nothing was saved; ask for work with POST /v1/tasks/next.",
    )


def already_labelled(task_id: str, why: str) -> Problem:
    return Problem(
        409,
        "already-labelled",
        title="This task is done",
        detail=f"Task {task_id}: {why}. The first label stands; ask for work with POST /v1/tasks/next.",
    )


def too_large() -> Problem:
    return Problem(
        413,
        "body-too-large",
        title="The body is too large",
        detail=f"The body has more than {MAX_BODY_BYTES} bytes: write coordinates with 6 decimals, no white space.",
    )
