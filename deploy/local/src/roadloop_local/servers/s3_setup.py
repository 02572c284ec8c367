"""Ask the object store whether it answers, and make the buckets that the services expect."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from minio import Minio
from minio.error import MinioException

from roadloop_local.errors import NotReadyError
from roadloop_local.layout import Layout
from roadloop_local.servers.s3 import ADMIN, BUCKETS, keys_of
from roadloop_local.servers.triton import get


@contextmanager
def open_client(layout: Layout, identity: str) -> Iterator[Minio]:
    """Open a client that does not wait for ever, and does not ask again by itself."""
    access_key, secret_key = keys_of(layout, identity)
    pool = urllib3.PoolManager(timeout=30, retries=False)
    try:
        yield Minio(
            endpoint=layout.address("s3"), access_key=access_key, secret_key=secret_key, secure=False, http_client=pool
        )
    finally:
        pool.clear()


async def check(layout: Layout) -> None:
    """List the buckets; raise `NotReadyError` until the gateway answers, and the master knows where there is room."""
    try:
        await asyncio.to_thread(list_buckets, layout)
    except (OSError, urllib3.exceptions.HTTPError, MinioException) as error:
        raise NotReadyError(f"s3 at {layout.address('s3')}: {error}") from error
    # A volume server that was there before its master tells it of itself 5 s later: a first write would wait for that.
    if not await asyncio.to_thread(read_volume_room, layout):
        raise NotReadyError(f"s3 at {layout.address('s3')}: the master knows no volume server")


def read_volume_room(layout: Layout) -> int:
    """Return for how many volumes there is room in all, as the master knows."""
    status = json.loads(get(layout.ports["s3_master"], "/dir/status"))
    return int(status["Topology"]["Max"])


def list_buckets(layout: Layout) -> list[str]:
    """Return the names of the buckets."""
    with open_client(layout, ADMIN) as admin:
        return [bucket.name for bucket in admin.list_buckets()]


async def prepare(layout: Layout) -> None:
    """Make the buckets that are missing."""
    await asyncio.to_thread(make_buckets, layout)


def make_buckets(layout: Layout) -> None:
    """Make each bucket once."""
    existing = list_buckets(layout)
    with open_client(layout, ADMIN) as admin:
        for bucket in BUCKETS:
            if bucket not in existing:
                admin.make_bucket(bucket_name=bucket)
