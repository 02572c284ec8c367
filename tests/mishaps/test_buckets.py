"""A bucket that is gone is an outage: what is in it is waited for, not given up."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.objects import ObjectMissing, ObjectStore, open_store
from roadloop_schemas.fields import ObjectRef

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An S3 of its own, whose buckets may go."""
    data = tmp_path_factory.mktemp("s3")
    try:
        yield local.up(data, ("s3",))
    finally:
        local.down(data, purge=True)


def remove_bucket(stack: Stack, bucket: str) -> None:
    admin = open_store(stack.s3_endpoint, *stack.s3_keys("admin")).client
    for found in admin.list_objects(bucket, recursive=True):
        admin.remove_object(bucket, str(found.object_name))
    admin.remove_bucket(bucket)


async def test_what_was_in_a_bucket_that_is_gone_is_not_missing(own: Stack) -> None:
    ingest = open_store(own.s3_endpoint, *own.s3_keys("ingest"))
    screen: ObjectStore = open_store(own.s3_endpoint, *own.s3_keys("screen"))
    kept: ObjectRef = await ingest.put("uploads", f"a/{uuid4().hex}.jpg", b"a picture", "image/jpeg")
    with pytest.raises(ObjectMissing):
        await screen.fetch(kept.model_copy(update={"uri": f"{kept.uri}.not"}))
    assert await screen.answers("uploads")

    await asyncio.to_thread(remove_bucket, own, "uploads")
    with pytest.raises(Transient, match="there is no bucket uploads") as raised:
        await screen.fetch(kept)
    assert raised.value.busy, "an outage by itself, whatever a canary says"
    assert not await screen.answers("uploads"), "not ready"
