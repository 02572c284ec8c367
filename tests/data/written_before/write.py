"""Write what today's code leaves behind, so that a later one can be shown to read it.

    python -m tests.data.written_before.write

It goes into a new folder that has today's date, and never into one that is there: what was written is never made anew.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import immutables
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from roadloop_runtime.outcome import Emit
from roadloop_runtime.records import Record
from roadloop_schemas.fields import Condition, ObjectRef
from roadloop_schemas.frames import VerdictReason
from roadloop_schemas.policies import KeepRule, ScreenPolicy
from screen.handle import Observation, decide
from screen.history.rows import SCHEMA, row_of
from screen.memory.embedding_statistics import Scenery
from screen.memory.entries import remember
from screen.memory.keep_rate import KeepRate, Segment
from screen.memory.kept_scenes import KeptScenes, SceneBlock
from screen.memory.repeat_discount import Echo
from screen.memory.sharpness import Sharpness
from screen.memory.snapshot_file import as_file, extend_snapshot
from screen.memory.state import Counters, KeptFrame, Memory
from screen.vision.detections import Box, Judged, Unjudged
from tests.builders import NOW, PAIR, make_candidate, make_frame, read_back, receive_unit
from trainer_trigger.tables.spec import GatePolicy, Spec

HERE = Path(__file__).parent
PARTITION = 3
EYE = "second.acme/1"
SLICE, CAMERA = "acme/rain/front", "acme/car-1/front"
FIRST, SECOND, THIRD = (np.array(vector, "<f4") for vector in ([1, 0], [0, 1], [-1, 0]))  # exact as float16, too
RULE = KeepRule(name="night bus", condition=Condition.NIGHT, class_name="bus", quota=0.02)
POLICY = ScreenPolicy(version=7, threshold=0.25, controlled=True, audit_share=0.6, duplicate_distance=4, rules=(RULE,))


def memory_before() -> Memory:
    """Return a memory with something of each kind."""
    full = Segment(30, 60, struct.pack("50d", *(number / 64 for number in range(50))))
    newest = Segment(31, 4, struct.pack("2d", 0.125, 0.625))
    rate = KeepRate(newest, (full,), 2.5, 0.75, "0110", "weights-1", (0.25, 0.875))
    kept = (
        KeptFrame("00000000000000ff", (("bus", 1), ("car", 2)), FIRST.astype("<f2").tobytes(), 0.5),
        KeptFrame("000000000000ff00"),
    )
    usual = Scenery(EYE, 60, np.array([[0.5, -1], [0.25, 2]], "<f4").tobytes())
    return Memory(
        slices=immutables.Map({SLICE: Counters(12, 4, 7, 1)}),
        sharpness=immutables.Map({CAMERA: Sharpness(812.5, 64, 2)}),
        echoes=immutables.Map({CAMERA: Echo("d-1", 1.25)}),
        allowances=immutables.Map({"acme": {"night bus": 1.5}}),
        rates=immutables.Map({f"{SLICE}@3": rate, f"{SLICE}@2": KeepRate(Segment(0, 1, struct.pack("d", 0.5)))}),
        kept=immutables.Map({CAMERA: kept}),
        scenery=immutables.Map({"acme": usual, SLICE: usual}),
        kept_scenes=immutables.Map({SLICE: KeptScenes(EYE, (SceneBlock(0, 2, FIRST.tobytes() + SECOND.tobytes()),))}),
        latest=immutables.Map({CAMERA: SECOND.astype("<f2").tobytes()}),
        strides=immutables.Map({SLICE: 0.375}),
        versions=immutables.Map({"acme": frozenset((2, 3))}),
    )


def memory_after(before: Memory) -> Memory:
    """Return the memory some frames later: version 2 does not count any more."""
    scenes = b"".join(scene.tobytes() for scene in (FIRST, SECOND, THIRD))
    return before._replace(
        slices=before.slices.set(SLICE, Counters(13, 5, 7, 1)),
        rates=before.rates.delete(f"{SLICE}@2"),
        kept_scenes=before.kept_scenes.set(SLICE, KeptScenes(EYE, (SceneBlock(0, 2, scenes),))),
        versions=before.versions.set("acme", frozenset((3,))),
    )


def memory_files() -> Mapping[str, bytes]:
    """Return the entries of a partition of screen.memory.v1, as records, and a snapshot from halfway through them."""
    before = memory_before()
    written = [*remember(PARTITION, Memory(), before)]
    halfway = len(written)
    written += remember(PARTITION, before, memory_after(before))
    records = [read_back(entry, offset=offset) for offset, entry in enumerate(written)]
    snapshot = extend_snapshot(None, records[:halfway], partition=PARTITION, now=NOW)
    lines = "".join(f"{json.dumps(as_json(record))}\n" for record in records)
    return {"memory_entries.jsonl": lines.encode(), "memory_snapshot.jsonl.gz": as_file(snapshot)}


def as_json(record: Record) -> dict[str, Any]:
    return {
        "offset": record.offset,
        "key": (record.key or b"").decode(),
        "value": None if record.value is None else record.value.decode(),
        "headers": [[name, value.decode()] for name, value in record.headers],
    }


def verdict_rows() -> Iterable[Mapping[str, Any]]:
    """Screen a unit in which each frame has a fate of its own, while version 4 is tried as a shadow."""
    serving = PAIR.model_copy(update={"candidate": make_candidate(second_model="second.acme", second_version=1)})
    frames = (
        make_frame(1, 0b0),
        make_frame(2, 0b1, brightness=0.25),
        make_frame(3, 0xFF00, Condition.NIGHT),
        make_frame(4, 0xFFFF),
    )
    car, bus = Box(0.1, 0.1, 0.3, 0.3, 0.5, "car"), Box(0.5, 0.25, 0.75, 0.5, 0.875, "bus")
    looks = (
        Judged((car,), (car, bus), FIRST.astype("<f2").tobytes()),
        Judged((car,), (car,), FIRST.astype("<f2").tobytes()),
        Judged((bus,), (bus,), SECOND.astype("<f2").tobytes()),
        Unjudged(VerdictReason.OBJECT_MISSING, "the object is not there"),
    )
    seen = Observation(receive_unit(*frames), serving, looks, candidate=looks)
    _, outcome = decide(memory_before(), seen, {"acme": POLICY}, salt=b"a salt of 16 or more")
    assert isinstance(outcome, Emit)
    return [row_of(read_back(event, offset=offset)) for offset, event in enumerate(outcome.events)]


def spec_files() -> Mapping[str, bytes]:
    """Return the body of a row of `specs`: today's, and as it was stored while `max_seconds` ended a training."""
    base, validation = (
        ObjectRef(uri=f"s3://datasets/acme/{name}.zip", sha256=digit * 64, size_bytes=1_000)
        for name, digit in (("base", "a"), ("validation", "b"))
    )
    gate = GatePolicy(min_gain=0.01, max_condition_loss=0.05, min_confidence=0.9)
    spec = Spec(
        min_labels=50, base_set=base, validation_set=validation, steps=400, patience=3, hang_after_s=900, gate=gate
    )
    older = spec.model_dump(mode="json", exclude={"patience", "hang_after_s"}) | {"max_seconds": 1_800.0}
    return {"spec.json": spec.model_dump_json().encode(), "spec_with_max_seconds.json": json.dumps(older).encode()}


def main() -> None:
    folder = HERE / f"{datetime.now(UTC):%Y-%m-%d}"
    folder.mkdir()
    for name, content in {**memory_files(), **spec_files()}.items():
        (folder / name).write_bytes(content)
    pq.write_table(pa.Table.from_pylist(list(verdict_rows()), SCHEMA), folder / "verdicts.parquet")
    print(f"wrote {folder}")


if __name__ == "__main__":
    main()
