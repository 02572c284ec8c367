"""What screening remembers of one partition: counters and keep rates per slice, and what was kept last per camera.

A frozen value. It is written to `screen.memory.v1` with the batch that changed it, and rebuilt from there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import immutables

from roadloop_runtime.records import Event, Record, event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.frames import KeepRateState, RingSegment, ScreenMemory, SliceCounters, UsualSharpness, Verdict
from screen.keep_rate import SEGMENTS, KeepRate, Segment, after_frame, after_score
from screen.sharpness import NOTHING_USUAL, Sharpness, after

TOPIC = "screen.memory.v1"
KEPT_PER_CAMERA = 16
SEGMENT_PLACES = 2 * SEGMENTS  # a place is written anew long after its segment was forgotten
NOTHING_KNOWN = KeepRate()
NOTHING_SEEN = SliceCounters(seen=0, kept=0, dropped=0, quarantined=0)


@dataclass(frozen=True, slots=True)
class Memory:
    """Counters and keep rates by tenant/condition/camera; the rest by tenant/vehicle/camera.

    That is the difference hashes of the last kept frames, and how sharp pictures usually are. The keep rate of a tenant
    as a whole is under tenant/*: it stands in for slices that are too young.
    """

    slices: immutables.Map[str, SliceCounters] = field(default_factory=immutables.Map)
    kept: immutables.Map[str, tuple[str, ...]] = field(default_factory=immutables.Map)
    rates: immutables.Map[str, KeepRate] = field(default_factory=immutables.Map)
    sharpness: immutables.Map[str, Sharpness] = field(default_factory=immutables.Map)

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

    def control(self, key: str, ranked: float | None, kept: bool, *, budget: float, audit_share: float) -> "Memory":
        """Return the memory after a slice's controller has seen one more frame; `ranked` is None where none was."""
        rate = self.rates.get(key, NOTHING_KNOWN)
        if ranked is not None:
            rate = after_score(rate, ranked, budget=budget, audit_share=audit_share)
        rate = after_frame(rate, kept, budget=budget, audit_share=audit_share)
        return replace(self, rates=self.rates.set(key, rate))

    def threshold(self, *keys: str) -> float | None:
        """Return the threshold of the first of these slices that has one."""
        thresholds = (self.rates.get(key, NOTHING_KNOWN).threshold for key in keys)
        return next((threshold for threshold in thresholds if threshold is not None), None)

    def see(self, camera_key: str, laplacian_variance: float, blur_ratio: float) -> "Memory":
        """Return the memory after one more picture of a camera; where no policy asks how sharp they are, as it is."""
        if not blur_ratio:
            return self
        usual = self.sharpness.get(camera_key, NOTHING_USUAL)
        seen = after(usual, laplacian_variance, ratio=blur_ratio)
        return replace(self, sharpness=self.sharpness.set(camera_key, seen))

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
    for key, usual in new.sharpness.items():
        if old.sharpness.get(key) is not usual:
            body = UsualSharpness(median=usual.median, seen=usual.seen, in_a_row=usual.in_a_row)
            yield _entry(partition, f"sharpness:{key}", ScreenMemory(camera=key, sharpness=body), str(usual.seen))
    for key, rate in new.rates.items():
        if (before := old.rates.get(key, NOTHING_KNOWN)) is not rate:
            yield from _rate_entries(partition, key, before, rate)


def _rate_entries(partition: int, key: str, old: KeepRate, new: KeepRate) -> Iterable[Event]:
    """Return a controller's state, and of its scores the segments that changed: each has its own place in turn."""
    mark = f"{new.segments[-1].number}.{new.segments[-1].received}"
    state = KeepRateState(first=new.segments[0].number, debt=new.debt, threshold=new.threshold, recent=new.recent)
    yield _entry(partition, f"rate:{key}", ScreenMemory(slice=key, keep_rate=state), mark)
    known = {id(segment) for segment in old.segments}
    for segment in new.segments:
        if id(segment) not in known:
            body = RingSegment(number=segment.number, received=segment.received, scores=segment.scores)
            place = f"segment:{key}#{segment.number % SEGMENT_PLACES}"
            yield _entry(partition, place, ScreenMemory(slice=key, segment=body), mark)


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
    sharpness: dict[str, Sharpness] = {}
    states: dict[str, KeepRateState] = {}
    segments: dict[str, dict[int, Segment]] = {}
    for record in records:
        entry = ScreenMemory.model_validate_json(record.value or b"{}")
        if entry.slice is not None and entry.counters is not None:
            slices[entry.slice] = entry.counters
        if entry.slice is not None and entry.keep_rate is not None:
            states[entry.slice] = entry.keep_rate
        if entry.slice is not None and entry.segment is not None:
            part = entry.segment
            segments.setdefault(entry.slice, {})[part.number] = Segment(part.number, part.received, part.scores)
        if entry.camera is not None and entry.sharpness is not None:
            found = entry.sharpness
            sharpness[entry.camera] = Sharpness(found.median, found.seen, found.in_a_row)
        elif entry.camera is not None:
            kept[entry.camera] = entry.kept_dhashes
    rates = {key: _rate(state, segments.get(key, {})) for key, state in states.items()}
    return Memory(immutables.Map(slices), immutables.Map(kept), immutables.Map(rates), immutables.Map(sharpness))


def _rate(state: KeepRateState, segments: Mapping[int, Segment]) -> KeepRate:
    """Return a controller from its state and its scores; those before its first segment are forgotten ones."""
    lasting = tuple(segments[number] for number in sorted(segments) if number >= state.first)
    return KeepRate(lasting or (Segment(state.first),), state.debt, state.threshold, state.recent)
