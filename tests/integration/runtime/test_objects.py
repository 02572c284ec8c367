"""Objects in a real S3: what comes back is what was announced, or says why not."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from roadloop_local.addresses import Stack
from roadloop_local.ports import choose_ports
from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.objects import (
    ObjectChanged,
    ObjectMissing,
    ObjectRefused,
    ObjectStore,
    keep_connections_open,
    open_store,
)
from roadloop_schemas.fields import ObjectRef

pytestmark = pytest.mark.integration

CONTENT = b"a text that packs well. " * 5_000


@pytest.fixture
def writer(stack: Stack) -> ObjectStore:
    return open_store(stack.s3_endpoint, *stack.s3_keys("ingest"))


@pytest.fixture
async def reader(stack: Stack) -> AsyncIterator[ObjectStore]:
    """What a worker reads with."""
    async with keep_connections_open(open_store(stack.s3_endpoint, *stack.s3_keys("screen"))) as reading:
        yield reading


async def stored(writer: ObjectStore, name: str = "one.txt") -> ObjectRef:
    return await writer.put("uploads", f"objects/{uuid4().hex}/{name}", CONTENT, "text/plain")


@pytest.mark.parametrize("name", ["one.jpg", "a+b%20c&d=e;f.jpg", "Straße/ünder~(1)'*!.png", "ends/with.dot."])
async def test_what_was_put_comes_back_whatever_its_name(writer: ObjectStore, reader: ObjectStore, name: str) -> None:
    kept = await stored(writer, name)
    assert await reader.fetch(kept) == CONTENT
    assert await writer.fetch(kept) == CONTENT, "without connections that stay open, too"
    assert reader.read_last == {"uploads": kept.key}


async def test_many_are_read_at_once(writer: ObjectStore, reader: ObjectStore) -> None:
    kept = await stored(writer)
    assert await asyncio.gather(*(reader.fetch(kept) for _ in range(100))) == [CONTENT] * 100


@pytest.mark.parametrize("size", [0, 1, len(CONTENT) - 1, len(CONTENT) + 1])
async def test_another_size_than_announced_is_a_change(writer: ObjectStore, reader: ObjectStore, size: int) -> None:
    kept = (await stored(writer)).model_copy(update={"size_bytes": size})
    with pytest.raises(ObjectChanged, match=rf"announced {size} bytes, the object has {len(CONTENT)}"):
        await reader.fetch(kept)


async def test_another_content_than_announced_is_a_change(writer: ObjectStore, reader: ObjectStore) -> None:
    kept = (await stored(writer)).model_copy(update={"sha256": hashlib.sha256(b"another").hexdigest()})
    with pytest.raises(ObjectChanged, match="the sha256 is not the announced one"):
        await reader.fetch(kept)


async def test_what_is_not_there_is_missing(writer: ObjectStore) -> None:
    gone = ObjectRef(uri=f"s3://uploads/objects/{uuid4().hex}", sha256="0" * 64, size_bytes=1)
    with pytest.raises(ObjectMissing, match=f"{gone.key} is not there"):
        await writer.fetch(gone)


async def test_a_wrong_key_is_refused(stack: Stack, writer: ObjectStore) -> None:
    access, _ = stack.s3_keys("screen")
    with pytest.raises(ObjectRefused, match="SignatureDoesNotMatch"):
        await open_store(stack.s3_endpoint, access, "another").fetch(await stored(writer))


async def test_without_a_right_to_it_an_object_is_refused(stack: Stack) -> None:
    secret = await open_store(stack.s3_endpoint, *stack.s3_keys()).put("models", uuid4().hex, CONTENT, "text/plain")
    annotating = open_store(stack.s3_endpoint, *stack.s3_keys("label-router"))
    with pytest.raises(ObjectRefused, match="AccessDenied"):
        await annotating.fetch(secret)


async def test_where_nobody_listens_it_is_worth_another_try(stack: Stack, writer: ObjectStore) -> None:
    kept = await stored(writer)
    port = choose_ports(["nobody"], {})["nobody"]
    away = open_store(f"http://127.0.0.1:{port}", *stack.s3_keys("screen"))
    with pytest.raises(Transient, match="ClientConnectorError"):
        await away.fetch(kept)
    async with keep_connections_open(away) as reading:
        with pytest.raises(Transient):
            await reading.fetch(kept)
