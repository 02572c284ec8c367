"""SeaweedFS: an S3 endpoint with a bucket per kind of object and an identity per service."""

import json

from roadloop_local.binaries import Binaries
from roadloop_local.layout import Layout
from roadloop_local.private_files import write_private
from roadloop_local.program import Program

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
            "credentials": [dict(zip(("accessKey", "secretKey"), keys_of(layout, identity), strict=True))],
            "actions": actions,
        }
        for identity, actions in ACTIONS.items()
    ]
    write_private(folder / "identities.json", json.dumps({"identities": identities}, indent=2))


def keys_of(layout: Layout, identity: str) -> tuple[str, str]:
    """Return an identity's access key and secret key."""
    return layout.secrets[f"s3.{identity}.access"], layout.secrets[f"s3.{identity}.secret"]


def describe_program(layout: Layout, binaries: Binaries) -> Program:
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


async def check(layout: Layout) -> None:
    """List the buckets; raise `NotReadyError` until the gateway answers, and the master knows where there is room."""
    # the client is imported by whoever connects: `roadloop env` does not
    from roadloop_local.servers import s3_setup

    await s3_setup.check(layout)


async def prepare(layout: Layout) -> None:
    """Make the buckets that are missing."""
    from roadloop_local.servers import s3_setup

    await s3_setup.prepare(layout)
