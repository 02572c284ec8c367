"""Take all partitions over after a million frames: how long until the memory is there?

One partition's frames are drawn and judged by the product's own code, unit by unit, and settled as a worker settles
them: what changed in memory is written with each unit. The same entries go to every partition of the topic, whose
settings are the product's. Then one process rebuilds all partitions together, as a worker does that is alone: at once,
again when the broker has compacted what it will, and with the snapshots that the sink takes. The same once more with a
broker that compacts nothing.
"""

import asyncio
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from aiokafka import ConsumerRecord
from aiokafka.admin import NewTopic

from history.measure import NOW, POLICY, TENANT
from loop.turns import Report
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_runtime.decode import Received
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.kafka.admin import create_topics, ensure_topics
from roadloop_runtime.kafka.reader import read_end_offsets
from roadloop_runtime.records import Event
from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.cloudevents import Attributes
from roadloop_schemas.fields import Condition, ObjectRef
from roadloop_schemas.frames import FramesIngested, IngestedFrame
from roadloop_schemas.models import DetectorCard, ModelServing
from screen.handle import Observation, decide
from screen.memory.entries import NOTHING, TOPIC, rebuild, remember
from screen.memory.snapshot_file import as_file
from screen.memory.snapshots import MemoryTopic, Snapshots
from screen.memory.state import Memory
from screen.vision.detections import Box, Judged
from screen.vision.embedding import pack

PARTITIONS, FRAMES, UNIT, VEHICLES, DIMENSIONS = 6, 1_000_000, 16, 20, 112
LIMIT_S, SETTLED_S = 10.0, 60.0
SERVING = ModelServing(
    model=f"detector.{TENANT}",
    version=1,
    release_id="r-1",
    second_model=f"second.{TENANT}",
    second_version=1,
    card=DetectorCard(family="roadloop", classes=("car",), input_width=256, input_height=160),
    serving_since=NOW,
)


@dataclass(frozen=True)
class TakenOver:
    """One take-over of all partitions: how many frames lie behind it, and what it read from Kafka and from S3."""

    frames: int
    compacted: bool
    when: str
    seconds: float
    records: int
    kafka_mib: float
    s3_mib: float


def measure(_options: Namespace, report: Report) -> dict[str, Any]:
    """Take over a tenth of the frames, and all of them; then all of them where nothing is compacted."""
    runs = [*_run(report, compacted=True), *_run(report, compacted=False)]
    worst = max(run.seconds for run in runs if run.frames == FRAMES and (run.compacted or run.s3_mib))
    return {"figures": {"seconds": worst}, "ratio": {"limit": worst / LIMIT_S}, "runs": [vars(run) for run in runs]}


def make_table(result: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| frames | broker | taken over | s | entries read | Kafka, MiB | S3, MiB |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {run['frames']:,} | {'compacts' if run['compacted'] else 'compacts nothing'} | {run['when']} "
        f"| {run['seconds']:.1f} | {run['records']:,} | {run['kafka_mib']:.0f} | {run['s3_mib']:.0f} |"
        for run in result["runs"]
    ]
    return "\n".join([*lines, "", f"of the limit of {LIMIT_S:.0f} s: {result['ratio']['limit']:.2f}"])


def _run(report: Report, *, compacted: bool) -> list[TakenOver]:
    with TemporaryDirectory(dir=Path.home(), prefix="memory-") as folder:
        stack = local.up(Path(folder) / "stack", ["kafka", "s3"])
        try:
            return asyncio.run(_measure(stack, report, compacted=compacted))
        finally:
            local.down(stack.data, purge=True)


async def _measure(stack: Stack, report: Report, *, compacted: bool) -> list[TakenOver]:
    kafka = stack.kafka_bootstrap
    if not compacted:
        topic_settings = {"cleanup.policy": "delete", "retention.ms": "-1"}
        await create_topics(kafka, [NewTopic(TOPIC, PARTITIONS, 1, topic_configs=topic_settings)])
    await ensure_topics(kafka)
    runs: list[TakenOver] = []
    settled_units = _settle_units(Random(1))
    frames = 0
    writers = [await Kafka(kafka, "bench").fence(f"bench.{number}") for number in range(PARTITIONS)]
    for until in (FRAMES // 10, FRAMES) if compacted else (FRAMES,):
        while frames < until:
            memory, entries = next(settled_units)
            await asyncio.gather(
                *(
                    fenced_writer.transact(_move_entries(entries, partition), {}, "")
                    for partition, fenced_writer in enumerate(writers)
                )
            )
            frames += UNIT * PARTITIONS
        report(f"{frames} frames are remembered")
        take_over = partial(_take_over, stack, memory, frames=until, compacted=compacted)
        runs.append(await take_over(when="at once"))
        if compacted:
            await asyncio.sleep(SETTLED_S)
            runs.append(await take_over(when=f"{SETTLED_S:.0f} s later"))
        await _take_snapshots(stack, report)
        runs.append(await take_over(when="with snapshots"))
    for writer in writers:
        await writer.close()
    return runs


async def _take_snapshots(stack: Stack, report: Report) -> None:
    """Take the snapshots as the sink does, as if they were due."""
    began = time.monotonic()
    sink = Snapshots(_open_memory_topic(stack, "screen-history"), after=1)
    for partition, end in (await read_end_offsets(stack.kafka_bootstrap, TOPIC, PARTITIONS)).items():
        await sink.renew(partition, end)
    report(f"snapshots of {PARTITIONS} partitions are taken in {time.monotonic() - began:.1f} s")


def _open_memory_topic(stack: Stack, identity: str) -> MemoryTopic:
    return MemoryTopic(stack.kafka_bootstrap, open_store(stack.s3_endpoint, *stack.s3_keys(identity)))


async def _take_over(stack: Stack, expected: Memory, *, frames: int, compacted: bool, when: str) -> TakenOver:
    memory_topic = _open_memory_topic(stack, "screen")
    began = time.monotonic()
    partition_contents = await asyncio.gather(*(memory_topic.read(partition) for partition in range(PARTITIONS)))
    for snapshot, records in partition_contents:
        if rebuild(records, snapshot.entries if snapshot else NOTHING) != expected:
            raise AssertionError("what was rebuilt is not what was remembered")
    seconds = time.monotonic() - began
    records = [record for _, entries in partition_contents for record in entries]
    from_kafka = sum(len(record.value or b"") for record in records)
    from_s3 = sum(len(as_file(snapshot)) for snapshot, _ in partition_contents if snapshot)
    mib = (round(size / 2**20, 1) for size in (from_kafka, from_s3))
    return TakenOver(frames, compacted, when, round(seconds, 2), len(records), *mib)


def _move_entries(entries: list[Event], partition: int) -> list[Event]:
    return [entry._replace(partition=partition) for entry in entries]


def _settle_units(dice: Random) -> Iterator[tuple[Memory, list[Event]]]:
    """Yield the memory after each unit of one partition, and the entries that it wrote."""
    numbers, memory = np.random.default_rng(1), Memory()
    usual = numbers.normal(size=DIMENSIONS)
    number = 0
    while True:
        memory_before = memory
        unit = _draw_unit(number, dice)
        embeddings = usual + 0.2 * numbers.normal(size=(UNIT, DIMENSIONS))
        judged = tuple(_draw_judged(dice, embedding) for embedding in embeddings)
        memory, _ = decide(memory, Observation(unit, SERVING, judged), {TENANT: POLICY}, salt=b"a salt of 16 or more")
        number += UNIT
        yield memory, list(remember(0, memory_before, memory))


def _draw_unit(first: int, dice: Random) -> Received[FramesIngested]:
    vehicle = f"car-{dice.randrange(VEHICLES)}"
    condition = dice.choices((Condition.CLEAR, Condition.RAIN, Condition.NIGHT), (8, 1, 1))[0]
    camera = dice.choice(("front", "rear"))
    frames = tuple(
        IngestedFrame.model_construct(
            frame_id=f"f-{first + at}",
            object=_OBJECT,
            width_px=640,
            height_px=480,
            captured_at=NOW,
            camera=camera,
            condition=condition,
            dhash=f"{dice.getrandbits(64):016x}",
            laplacian_variance=dice.uniform(50, 150),
            brightness=0.5,
            signals=(),
        )
        for at in range(UNIT)
    )
    body = FramesIngested.model_construct(
        unit_id=f"u-{first}", upload_id="up-1", vehicle=vehicle, drive=f"d-{first}", received_at=NOW, frames=frames
    )
    envelope = Attributes(f"e-{first}", "/roadloop/ingest", "roadloop.frames.ingested.v1", TENANT)
    record = ConsumerRecord("frames.ingested.v1", 0, first, 0, 0, b"", b"", 0, 0, 0, ())
    return Received(envelope, body, 0, first, NOW, record)


_OBJECT = ObjectRef(uri="s3://uploads/acme/car-1/1.jpg", sha256="0" * 64, size_bytes=10)


def _draw_judged(dice: Random, embedding: Any) -> Judged:
    boxes = tuple(Box(0.1, 0.1, 0.2, 0.2, dice.betavariate(6, 2), "car") for _ in range(3))
    return Judged(boxes, boxes[: dice.randint(1, 3)], pack(embedding))
