"""Take all partitions over after a million frames: how long until the memory is there?

One partition's frames are drawn and judged by the product's own code, unit by unit, and settled as a worker settles
them: what changed in memory is written with each unit. The same entries go to every partition of the topic, whose
settings are the product's. Then one process rebuilds all partitions together, as a worker does that is alone: at once,
which is the worst moment, and again when the broker has compacted what it will.
"""

import asyncio
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from aiokafka import ConsumerRecord

from history.measure import NOW, POLICY, TENANT
from loop.turns import Report
from roadloop_local import stack as local
from roadloop_runtime.decode import Received
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.kafka.admin import ensure_topics
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Event, Partition
from roadloop_schemas.cloudevents import Attributes
from roadloop_schemas.fields import Condition, ObjectRef
from roadloop_schemas.frames import FramesIngested, IngestedFrame
from roadloop_schemas.models import DetectorCard, ModelServing
from screen.detections import Box
from screen.embedding import pack
from screen.facts import Judged
from screen.handle import Seen, decide
from screen.memory import Memory
from screen.memory_entries import TOPIC, rebuild, remember

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
    """One take-over of all partitions: how many frames lie behind it, and what it read."""

    frames: int
    when: str
    seconds: float
    records: int
    mib: float


def measure(_asked: Namespace, report: Report) -> dict[str, Any]:
    """Take over a tenth of the frames, and all of them."""
    with TemporaryDirectory(dir=Path.home(), prefix="memory-") as folder:
        stack = local.up(Path(folder) / "stack", ["kafka"])
        try:
            runs = asyncio.run(_measure(stack.kafka_bootstrap, report))
        finally:
            local.down(stack.data, purge=True)
    worst = max(run.seconds for run in runs if run.frames == FRAMES)
    return {"figures": {"seconds": worst}, "ratio": {"limit": worst / LIMIT_S}, "runs": [vars(run) for run in runs]}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = ["| frames | taken over | s | entries read | MiB |", "|---:|---|---:|---:|---:|"]
    lines += [
        f"| {run['frames']:,} | {run['when']} | {run['seconds']:.1f} | {run['records']:,} | {run['mib']:.0f} |"
        for run in result["runs"]
    ]
    return "\n".join([*lines, "", f"of the limit of {LIMIT_S:.0f} s: {result['ratio']['limit']:.2f}"])


async def _measure(kafka: str, report: Report) -> list[TakenOver]:
    await ensure_topics(kafka)
    runs: list[TakenOver] = []
    settled = _settled(Random(1))
    frames = 0
    writers = [await Kafka(kafka, "bench").fence(f"bench.{number}") for number in range(PARTITIONS)]
    for until in (FRAMES // 10, FRAMES):
        while frames < until:
            memory, entries = next(settled)
            await asyncio.gather(*(w.transact(_at(entries, p), {}, "") for p, w in enumerate(writers)))
            frames += UNIT * PARTITIONS
        report(f"{frames} frames are remembered")
        runs.append(await _take_over(kafka, memory, frames=until, when="at once"))
        await asyncio.sleep(SETTLED_S)
        runs.append(await _take_over(kafka, memory, frames=until, when=f"{SETTLED_S:.0f} s later"))
    for writer in writers:
        await writer.close()
    return runs


async def _take_over(kafka: str, expected: Memory, *, frames: int, when: str) -> TakenOver:
    began = time.monotonic()
    read = [0, 0]

    async def one(partition: int) -> Memory:
        records = await read_partition(kafka, Partition(TOPIC, partition))
        read[0] += len(records)
        read[1] += sum(len(record.value or b"") for record in records)
        return rebuild(records)

    found = await asyncio.gather(*(one(partition) for partition in range(PARTITIONS)))
    seconds = time.monotonic() - began
    if any(memory != expected for memory in found):
        raise AssertionError("what was rebuilt is not what was remembered")
    return TakenOver(frames, when, round(seconds, 2), read[0], round(read[1] / 2**20, 1))


def _at(entries: list[Event], partition: int) -> list[Event]:
    return [entry._replace(partition=partition) for entry in entries]


def _settled(dice: Random) -> Iterator[tuple[Memory, list[Event]]]:
    """Yield the memory after each unit of one partition, and the entries that it wrote."""
    numbers, memory = np.random.default_rng(1), Memory()
    usual = numbers.normal(size=DIMENSIONS)
    number = 0
    while True:
        before = memory
        unit = _unit(number, dice)
        embeddings = usual + 0.2 * numbers.normal(size=(UNIT, DIMENSIONS))
        looks = tuple(_look(dice, embedding) for embedding in embeddings)
        memory, _ = decide(memory, Seen(unit, SERVING, looks), {TENANT: POLICY}, salt=b"a salt of 16 or more")
        number += UNIT
        yield memory, list(remember(0, before, memory))


def _unit(first: int, dice: Random) -> Received[FramesIngested]:
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


def _look(dice: Random, embedding: Any) -> Judged:
    boxes = tuple(Box(0.1, 0.1, 0.2, 0.2, dice.betavariate(6, 2), "car") for _ in range(3))
    return Judged(boxes, boxes[: dice.randint(1, 3)], pack(embedding))
