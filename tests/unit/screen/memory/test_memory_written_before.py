"""Entries and snapshots of memory that earlier code wrote are still read, and mean what they meant."""

import struct
from datetime import UTC, datetime

import immutables

from screen.memory.embedding_statistics import Scenery
from screen.memory.entries import rebuild
from screen.memory.keep_rate import KeepRate, Segment
from screen.memory.kept_scenes import KeptScenes, SceneBlock
from screen.memory.repeat_discount import Echo
from screen.memory.sharpness import Sharpness
from screen.memory.snapshot_file import Head, of_file
from screen.memory.state import Counters, KeptFrame, Memory
from tests.data.written_before.read import OF_NOVEMBER, read_memory_entries

SLICE, CAMERA = "acme/rain/front", "acme/car-1/front"
USUAL = Scenery("second.acme/1", 60, struct.pack("<4f", 0.5, -1, 0.25, 2))
RATE = KeepRate(
    newest=Segment(31, 4, struct.pack("2d", 0.125, 0.625)),
    full=(Segment(30, 60, struct.pack("50d", *(number / 64 for number in range(50)))),),
    debt=2.5,
    threshold=0.75,
    recent="0110",
    scale="weights-1",
    reach=(0.25, 0.875),
)
BEFORE = Memory(
    slices=immutables.Map({SLICE: Counters(seen=12, kept=4, dropped=7, quarantined=1)}),
    sharpness=immutables.Map({CAMERA: Sharpness(812.5, 64, 2)}),
    echoes=immutables.Map({CAMERA: Echo("d-1", 1.25)}),
    allowances=immutables.Map({"acme": {"night bus": 1.5}}),
    rates=immutables.Map({f"{SLICE}@3": RATE, f"{SLICE}@2": KeepRate(Segment(0, 1, struct.pack("d", 0.5)))}),
    kept=immutables.Map(
        {
            CAMERA: (
                KeptFrame("00000000000000ff", (("bus", 1), ("car", 2)), b"\x00\x3c\x00\x00", 0.5),
                KeptFrame("000000000000ff00", (), b"", None),
            )
        }
    ),
    scenery=immutables.Map({"acme": USUAL, SLICE: USUAL}),
    kept_scenes=immutables.Map(
        {SLICE: KeptScenes("second.acme/1", (SceneBlock(0, 2, struct.pack("<4f", 1, 0, 0, 1)),))},
    ),
    latest=immutables.Map({CAMERA: b"\x00\x00\x00\x3c"}),
    strides=immutables.Map({SLICE: 0.375}),
    versions=immutables.Map({"acme": frozenset((2, 3))}),
)
AFTER = BEFORE._replace(
    slices=immutables.Map({SLICE: Counters(seen=13, kept=5, dropped=7, quarantined=1)}),
    rates=immutables.Map({f"{SLICE}@3": RATE}),
    kept_scenes=immutables.Map(
        {SLICE: KeptScenes("second.acme/1", (SceneBlock(0, 2, struct.pack("<6f", 1, 0, 0, 1, -1, 0)),))},
    ),
    versions=immutables.Map({"acme": frozenset((3,))}),
)


def test_entries_give_the_memory_that_was() -> None:
    records = read_memory_entries(OF_NOVEMBER)
    assert rebuild(records[:17]) == BEFORE
    assert rebuild(records) == AFTER


def test_a_snapshot_gives_the_memory_that_was_and_with_what_came_since_the_newest() -> None:
    snapshot = of_file((OF_NOVEMBER / "memory_snapshot.jsonl.gz").read_bytes())
    taken_at = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    assert snapshot.head == Head(partition=3, offset=17, taken_at=taken_at, entries=17)
    assert rebuild([], snapshot.entries) == BEFORE
    assert rebuild(read_memory_entries(OF_NOVEMBER)[17:], snapshot.entries) == AFTER
