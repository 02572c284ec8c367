"""Units as ingest writes them: 16 frames each, over all partitions alike."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from roadloop_local.addresses import Stack
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_schemas.fields import Condition, ObjectRef
from roadloop_schemas.frames import FramesIngested, IngestedFrame
from roadloop_schemas.topics import read_topic_files

TOPIC = "frames.ingested.v1"
PARTITIONS = read_topic_files()[TOPIC].partitions
FRAMES = 16
AT_ONCE = 64
START = datetime(2025, 1, 1, tzinfo=UTC)
CAMERAS = ("front", "left", "right", "rear")
VEHICLES_PER_PARTITION = 10


async def write(stack: Stack, tenant: str, batch: str, frames: int, objects: Sequence[ObjectRef]) -> set[str]:
    """Write that many frames (a multiple of 16) as units of a tenant; return the ids of the frames."""
    writer = await Kafka(stack.kafka_bootstrap, "bench").fence("bench.units")
    try:
        pending: list[Event] = []
        for number in range(frames // FRAMES):
            pending.append(_make_unit(tenant, batch, number, objects))
            if len(pending) == AT_ONCE:
                await writer.transact(pending, {}, "")
                pending = []
        if pending:
            await writer.transact(pending, {}, "")
    finally:
        await writer.close()
    return set(_list_ids(batch, frames))


def _list_ids(batch: str, frames: int) -> Iterator[str]:
    return (f"{batch}.{number}" for number in range(frames // FRAMES * FRAMES))


def _make_unit(tenant: str, batch: str, number: int, objects: Sequence[ObjectRef]) -> Event:
    partition, turn = number % PARTITIONS, number // PARTITIONS
    vehicle = f"vehicle-{partition}-{turn % VEHICLES_PER_PARTITION}"
    drive = Random(f"{vehicle}.{turn // 100}")
    condition, camera = drive.choice(list(Condition)), drive.choice(CAMERAS)
    body = FramesIngested(
        unit_id=f"{batch}.unit.{number}",
        upload_id=f"{batch}.{vehicle}",
        vehicle=vehicle,
        drive=f"{vehicle}.{turn // 100}",
        received_at=START,
        frames=tuple(_make_frame(batch, number * FRAMES + n, condition, camera, objects) for n in range(FRAMES)),
    )
    return to_cloud_event(
        TOPIC,
        body,
        id=body.unit_id,
        source="/bench",
        tenant=tenant,
        key=vehicle,
        time=START,
        partition=partition,
    )


def _make_frame(
    batch: str, number: int, condition: Condition, camera: str, objects: Sequence[ObjectRef]
) -> IngestedFrame:
    draw = Random(number)
    return IngestedFrame(
        frame_id=f"{batch}.{number}",
        object=objects[draw.randrange(len(objects))],
        width_px=1280,
        height_px=720,
        captured_at=START + timedelta(milliseconds=500 * number),
        camera=camera,
        condition=condition,
        dhash=f"{draw.getrandbits(64):016x}",
        laplacian_variance=draw.uniform(50, 500),
        brightness=draw.uniform(0.1, 0.9),
    )
