"""A request that is refused, and what its sender can do about it."""

from collections.abc import Mapping

MAX_BODY_BYTES = 64 * 1024


class Refusal(Exception):
    """Becomes a problem of RFC 9457. `kind` is stable: clients compare it, people read `detail`.

    `detail` says what is wrong, where, and what to do; `more` are members beside it, for programs.
    """

    def __init__(self, status: int, kind: str, title: str, detail: str, more: Mapping[str, object] | None = None):
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.more = dict(more or {})


def unauthorised() -> Refusal:
    return Refusal(
        401,
        "unauthorised",
        "No valid token",
        "The header Authorization carries no token that is known and not revoked: send 'Bearer TOKEN' with the token "
        "you got when you were enrolled, or ask an admin for `roadloop annotators enrol`.",
    )


def no_such_task(task_id: str) -> Refusal:
    return Refusal(
        404,
        "no-such-task",
        "No such task",
        f"Your tenant has no task {ascii(task_id)[:140]}: ask for one with POST /v1/tasks/next.",
    )


def lease_gone(task_id: str, why: str) -> Refusal:
    return Refusal(
        409,
        "lease-gone",
        "This lease does not hold",
        f"Task {task_id}: {why}. Nothing was saved; ask for work with POST /v1/tasks/next.",
    )


def already_labelled(task_id: str, why: str) -> Refusal:
    return Refusal(
        409,
        "already-labelled",
        "This task is done",
        f"Task {task_id}: {why}. The first label stands; ask for work with POST /v1/tasks/next.",
    )


def too_large() -> Refusal:
    return Refusal(
        413,
        "body-too-large",
        "The body is too large",
        f"The body has more than {MAX_BODY_BYTES} bytes: write coordinates with 6 decimals, without white space.",
    )


def unavailable() -> Refusal:
    return Refusal(
        503,
        "unavailable",
        "The database does not answer",
        "The task database does not answer now: send the same request again in a few seconds. "
        "A label that was saved already is not saved twice.",
    )
