"""What screening remembers of one partition: counters per slice, and what was kept last per camera.

A frozen value. It is written to `screen.memory.v1` with the batch that changed it, and rebuilt from there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import immutables

from roadloop_runtime.records import Event, Record, event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.frames import ScreenMemory, SliceCounters, Verdict

TOPIC = "screen.memory.v1"
KEPT_PER_CAMERA = 16
NOTHING_SEEN = SliceCounters(seen=0, kept=0, dropped=0, quarantined=0)


@dataclass(frozen=True, slots=True)
class Memory:
    """Counters by tenant/condition/camera; difference hashes of the last kept frames by tenant/vehicle/camera."""

    slices: immutables.Map[str, SliceCounters] = field(default_factory=immutables.Map)
    kept: immutables.Map[str, tuple[str, ...]] = field(default_factory=immutables.Map)

    def count(self, slice_key: str, verdict: Verdict) -> "Memory":
        """Return the memory after one more frame of a slice."""
        before = self.slices.get(slice_key, NOTHING_SEEN)
        after = SliceCounters(
            seen=before.seen + 1,
            kept=before.kept + (verdict is Verdict.KEPT),
            dropped=before.dropped + (verdict is Verdict.DROPPED),
            quarantined=before.quarantined + (verdict is Verdict.QUARANTINED),
        )
        return replace(self, slices=self.slices.set(slice_key, after))

    def keep(self, camera_key: str, dhash: str) -> "Memory":
        """Return the memory after a frame was kept."""
        newest = (*self.kept.get(camera_key, ()), dhash)[-KEPT_PER_CAMERA:]
        return replace(self, kept=self.kept.set(camera_key, newest))

    def nearest_kept(self, camera_key: str, dhash: str) -> int | None:
        """Return the Hamming distance to the most similar kept frame of a camera, in bits of 64."""
        mine = int(dhash, 16)
        return min(((int(other, 16) ^ mine).bit_count() for other in self.kept.get(camera_key, ())), default=None)


def remember(partition: int, old: Memory, new: Memory) -> Iterable[Event]:
    """Return the entries that changed since the last settle."""
    for key, counters in new.slices.items():
        if old.slices.get(key) is not counters:
            yield _entry(partition, f"slice:{key}", ScreenMemory(slice=key, counters=counters), str(counters.seen))
    for key, hashes in new.kept.items():
        if old.kept.get(key) is not hashes:
            yield _entry(partition, f"camera:{key}", ScreenMemory(camera=key, kept_dhashes=hashes), hashes[-1])


def _entry(partition: int, key: str, body: ScreenMemory, mark: str) -> Event:
    return event(
        TOPIC,
        body,
        id=derive_id("memory", partition, key, mark),
        source="/roadloop/screen",
        tenant=key.split(":", 1)[1].split("/", 1)[0],
        key=key,
        time=datetime.fromtimestamp(0, UTC),
        partition=partition,
    )


def rebuild(records: Sequence[Record]) -> Memory:
    """Return the memory that a partition's entries describe: the newest of each key counts."""
    slices: dict[str, SliceCounters] = {}
    kept: dict[str, tuple[str, ...]] = {}
    for record in records:
        entry = ScreenMemory.model_validate_json(record.value or b"{}")
        if entry.slice is not None and entry.counters is not None:
            slices[entry.slice] = entry.counters
        if entry.camera is not None:
            kept[entry.camera] = entry.kept_dhashes
    return Memory(immutables.Map(slices), immutables.Map(kept))
