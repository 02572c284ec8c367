"""What an answer to a read means, and answers that break off, lead elsewhere or never end."""

import asyncio
import hashlib

import aiohttp
import pytest

from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage import objects
from roadloop_runtime.storage.objects import (
    ObjectChanged,
    ObjectMissing,
    ObjectRefused,
    keep_connections_open,
    open_store,
)
from roadloop_schemas.fields import ObjectRef

CONTENT = b"ten bytes."
REFERENCE = ObjectRef(uri="s3://uploads/a.jpg", sha256=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


async def fetched(answer: bytes, *, hangs: bool = False, has_bucket: bool = True) -> bytes:
    """Read through a peer that says `answer` to a read, and hangs up, or waits until it is hung up on."""
    ended = asyncio.Event()
    about_bucket = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if has_bucket else b"404 Not Found")

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(about_bucket if request.startswith(b"HEAD") else answer)
        if hangs:
            await reader.read()
        writer.close()
        ended.set()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            async with keep_connections_open(open_store(f"http://127.0.0.1:{port}", "access", "secret")) as store:
                return await store.fetch(REFERENCE)
        finally:
            await ended.wait()


def refusal(status: int, code: str, message: str = "so it is") -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


async def test_a_whole_answer_is_the_object() -> None:
    assert await fetched(HEAD % len(CONTENT) + CONTENT) == CONTENT


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        pytest.param(refusal(404, "NoSuchKey"), ObjectMissing, "uploads/a.jpg is not there", id="no such key"),
        pytest.param(refusal(404, "NoSuchBucket"), ObjectMissing, "is not there", id="no such bucket"),
        pytest.param(refusal(403, "AccessDenied"), ObjectRefused, "AccessDenied: so it is", id="no right"),
        pytest.param(refusal(503, "SlowDown"), Transient, "SlowDown: so it is", id="too fast"),
        pytest.param(refusal(500, "InternalError"), Transient, "InternalError", id="its own fault"),
        pytest.param(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", Transient, "status 502", id="a proxy's fault"),
        pytest.param(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", ObjectRefused, "status 404", id="not S3's words"),
        pytest.param(
            b"HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            ObjectRefused,
            "status 307",
            id="elsewhere is not asked",
        ),
        pytest.param(HEAD % 9 + b"nine byte", ObjectChanged, "has 9", id="another size"),
        pytest.param(HEAD % 10 + b"ten others", ObjectChanged, "sha256", id="another content"),
        pytest.param(HEAD % 10 + b"four", Transient, "ClientPayloadError", id="breaks off"),
        pytest.param(b"", Transient, "ServerDisconnectedError", id="hangs up"),
        pytest.param(b"no HTTP\r\n\r\n", Transient, "Bad", id="no HTTP"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n" + CONTENT + b"\r\n0\r\n\r\n",
            ObjectChanged,
            "has an unknown size",
            id="of no size",
        ),
    ],
)
async def test_every_other_answer_says_what_it_is(answer: bytes, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        await fetched(answer)


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchBucket"])
async def test_a_bucket_that_is_gone_is_an_outage_and_its_objects_are_not_missing(code: str) -> None:
    with pytest.raises(Transient, match="there is no bucket uploads: is its disk mounted") as raised:
        await fetched(refusal(404, code), has_bucket=False)
    assert raised.value.busy


async def test_who_is_busy_is_told_from_who_is_broken() -> None:
    for answer, busy in ((refusal(503, "SlowDown"), True), (refusal(500, "InternalError"), False)):
        with pytest.raises(Transient) as raised:
            await fetched(answer)
        assert raised.value.busy is busy


async def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "READ_WITHIN", aiohttp.ClientTimeout(0.2))
    with pytest.raises(Transient, match="Timeout"):
        await fetched(HEAD % 10 + b"four", hangs=True)
