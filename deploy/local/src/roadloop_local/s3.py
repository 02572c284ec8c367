"""SeaweedFS: an S3 endpoint with a bucket per kind of object and an identity per service."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from minio import Minio
from minio.error import MinioException

from roadloop_local.binaries import Binaries
from roadloop_local.errors import NotReadyError
from roadloop_local.layout import Layout, write_private
from roadloop_local.program import Program
from roadloop_local.triton import get

BUCKETS = ("uploads", "models", "datasets", "history", "memory")
ADMIN = "admin"
# What each identity may do, in SeaweedFS's words: ACTION or ACTION:BUCKET.
ACTIONS = {
    ADMIN: ("Admin", "Read", "Write", "List", "Tagging"),
    "ingest": ("Read:uploads", "Write:uploads", "List:uploads", "Tagging:uploads"),
    "screen": ("Read:uploads", "Read:models", "Read:memory"),
    "screen-history": (
        *(f"{action}:history" for action in ("Read", "Write", "List")),
        *("Read:memory", "Write:memory"),
    ),
    "label-router": ("Read:uploads",),
    "trainer-trigger": (
        "Read:uploads",
        *(f"{action}:{bucket}" for bucket in ("models", "datasets") for action in ("Read", "Write", "List")),
    ),
}
PARTS = ("s3_master", "s3_volume", "s3_filer", "s3")
PORTS = tuple(name for part in PARTS for name in (part, f"{part}_grpc"))
SECRETS = tuple(f"s3.{identity}.{half}" for identity in ACTIONS for half in ("access", "secret"))


def lay_down(layout: Layout, binaries: Binaries) -> None:
    """Write who may do what."""
    folder = layout.data / "s3"
    folder.mkdir(exist_ok=True)
    identities = [
        {
            "name": identity,
            "credentials": [dict(zip(("accessKey", "secretKey"), keys(layout, identity), strict=True))],
            "actions": actions,
        }
        for identity, actions in ACTIONS.items()
    ]
    write_private(folder / "identities.json", json.dumps({"identities": identities}, indent=2))


def keys(layout: Layout, identity: str) -> tuple[str, str]:
    """Return an identity's access key and secret key."""
    return layout.secrets[f"s3.{identity}.access"], layout.secrets[f"s3.{identity}.secret"]


def program(layout: Layout, binaries: Binaries) -> Program:
    """Return master, volume server, filer and S3 gateway as one program."""
    ports = [
        option
        for part, flag in zip(PARTS, ("master", "volume", "filer", "s3"), strict=True)
        for option in (f"-{flag}.port={layout.ports[part]}", f"-{flag}.port.grpc={layout.ports[f'{part}_grpc']}")
    ]
    command = (
        *(str(binaries.weed), "-logtostderr", "server", "-s3", f"-dir={layout.data / 's3'}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports, "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-s3.config={layout.data / 's3' / 'identities.json'}", f"-s3.localSocket={layout.sockets / 's3.sock'}"),
        *(
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=100",
            "-volume.preStopSeconds=1",
        ),
    )
    # One volume per bucket at first, not seven: a stack starts small. After TERM the server waits 10 s and more for
    # its own gRPC streams, so it is killed sooner; what it has acknowledged is written by then.
    return Program("s3", command, {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}, stop_s=3)


@contextmanager
def client(layout: Layout, identity: str) -> Iterator[Minio]:
    """Open a client that answers or fails within seconds."""
    access_key, secret_key = keys(layout, identity)
    pool = urllib3.PoolManager(timeout=3, retries=False)
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
    if not await asyncio.to_thread(volumes, layout):
        raise NotReadyError(f"s3 at {layout.address('s3')}: the master knows no volume server")


def volumes(layout: Layout) -> int:
    """Return for how many volumes there is room in all, as the master knows."""
    status = json.loads(get(layout.ports["s3_master"], "/dir/status"))
    return int(status["Topology"]["Max"])


def list_buckets(layout: Layout) -> list[str]:
    """Return the names of the buckets."""
    with client(layout, ADMIN) as admin:
        return [bucket.name for bucket in admin.list_buckets()]


async def prepare(layout: Layout) -> None:
    """Make the buckets that are missing."""
    await asyncio.to_thread(make_buckets, layout)


def make_buckets(layout: Layout) -> None:
    """Make each bucket once."""
    existing = list_buckets(layout)
    with client(layout, ADMIN) as admin:
        for bucket in BUCKETS:
            if bucket not in existing:
                admin.make_bucket(bucket_name=bucket)
