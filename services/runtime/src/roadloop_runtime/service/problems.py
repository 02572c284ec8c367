"""What HTTP says when it refuses (RFC 9457): a stable type, and a detail that says what, where and what to do.

A value, which commands meet, too: what FastAPI makes of it is in `problem_responses.py`.
"""

from collections.abc import Mapping


class Problem(Exception):
    """A request that is refused. `kind` is stable: clients compare it, people read `detail`.

    `more` are members beside the standard ones, for programs.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        title: str = "",
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind.replace("_", "-")
        self.title = title or self.kind.replace("-", " ")
        self.detail = detail
        self.more = dict(more or {})
        self.headers = dict(headers or ({"WWW-Authenticate": "Bearer"} if status == 401 else {}))
