"""Refusals over HTTP, as RFC 9457 wants them."""

import httpx


def refused(answer: httpx.Response, status: int, kind: str) -> str:
    """Return what a problem says, after checking that it is one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), answer.text
    assert problem["type"].endswith(kind)
    assert problem["title"]
    return str(problem["detail"])
