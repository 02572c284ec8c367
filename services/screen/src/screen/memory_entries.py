"""Memory as entries of a compacted topic: written with the batch that changed them, read back by the next owner."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import immutables

from roadloop_runtime.records import Event, Record, event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.frames import KeepRateState, RingSegment, ScreenMemory, UsualSharpness
from screen.keep_rate import NOTHING_KNOWN, SEGMENTS, KeepRate, Segment
from screen.memory import Memory
from screen.sharpness import Sharpness

V = TypeVar("V")
TOPIC = "screen.memory.v1"
SEGMENT_PLACES = 2 * SEGMENTS  # a place is written anew long after its segment was forgotten


def remember(partition: int, old: Memory, new: Memory) -> Iterable[Event]:
    """Return the entries that changed since the last settle."""
    for key, counters in _changed(old.slices, new.slices):
        yield _entry(partition, f"slice:{key}", ScreenMemory(slice=key, counters=counters), str(counters.seen))
    for key, hashes in _changed(old.kept, new.kept):
        yield _entry(partition, f"camera:{key}", ScreenMemory(camera=key, kept_dhashes=hashes), hashes[-1])
    for key, usual in _changed(old.sharpness, new.sharpness):
        known = UsualSharpness(median=usual.median, seen=usual.seen, in_a_row=usual.in_a_row)
        yield _entry(partition, f"sharpness:{key}", ScreenMemory(camera=key, sharpness=known), str(usual.seen))
    for key, allowances in _changed(old.allowances, new.allowances):
        body = ScreenMemory(tenant=key, allowances=dict(allowances))
        yield _entry(partition, f"rules:{key}", body, body.model_dump_json())
    for key, rate in _changed(old.rates, new.rates):
        yield from _rate_entries(partition, key, old.rates.get(key, NOTHING_KNOWN), rate)


def _changed(old: Mapping[str, V], new: Mapping[str, V]) -> Iterable[tuple[str, V]]:
    return ((key, value) for key, value in new.items() if old.get(key) is not value)


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
    return _remembered([ScreenMemory.model_validate_json(record.value or b"{}") for record in records])


def _remembered(entries: Sequence[ScreenMemory]) -> Memory:
    sharpness = {entry.camera: entry.sharpness for entry in entries if entry.camera and entry.sharpness}
    return Memory(
        immutables.Map({entry.slice: entry.counters for entry in entries if entry.slice and entry.counters}),
        immutables.Map({entry.camera: entry.kept_dhashes for entry in entries if entry.camera and entry.kept_dhashes}),
        immutables.Map(_rates(entries)),
        immutables.Map({key: Sharpness(u.median, u.seen, u.in_a_row) for key, u in sharpness.items()}),
        immutables.Map({entry.tenant: entry.allowances for entry in entries if entry.tenant}),
    )


def _rates(entries: Sequence[ScreenMemory]) -> Mapping[str, KeepRate]:
    """Return the controllers from their states and their scores; those before the first segment are forgotten ones."""
    segments: dict[str, dict[int, Segment]] = {}
    for entry in entries:
        if entry.slice and entry.segment:
            part = entry.segment
            segments.setdefault(entry.slice, {})[part.number] = Segment(part.number, part.received, part.scores)
    states = {entry.slice: entry.keep_rate for entry in entries if entry.slice and entry.keep_rate}
    return {key: _rate(state, segments.get(key, {})) for key, state in states.items()}


def _rate(state: KeepRateState, segments: Mapping[int, Segment]) -> KeepRate:
    lasting = tuple(segments[number] for number in sorted(segments) if number >= state.first)
    return KeepRate(lasting or (Segment(state.first),), state.debt, state.threshold, state.recent)
