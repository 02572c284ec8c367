"""Memory as entries of a compacted topic: written with the batch that changed them, read back by the next owner."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from types import MappingProxyType
from typing import TypeVar

import immutables

from roadloop_runtime.records import Event, Record, to_cloud_event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.frames import SliceCounters
from roadloop_schemas.memory import KeepRateState, KeptScene, RingSegment, SceneryState, ScreenMemory, UsualSharpness
from roadloop_schemas.topics import SCREEN_MEMORY
from screen.memory.embedding_statistics import Scenery
from screen.memory.keep_rate import NOTHING_KNOWN, KeepRate, Segment
from screen.memory.kept_scenes import BLOCK_SCENES, BLOCKS, NOTHING_KEPT, KeptScenes, SceneBlock
from screen.memory.repeat_discount import Echo
from screen.memory.sharpness import Sharpness
from screen.memory.state import Counters, KeptFrame, Memory
from screen.vision.embedding import as_text, from_text, pack, unpack

V = TypeVar("V")
TOPIC = SCREEN_MEMORY
SCENE_PLACES = (BLOCKS + 1) * BLOCK_SCENES  # as many as are looked at, with the block that is being filled
NOTHING: Mapping[bytes, bytes] = MappingProxyType({})
SEGMENT_PLACES = 42  # more than there are segments; another number would leave old ones where nobody overwrites them


def remember(partition: int, old: Memory, new: Memory) -> Iterable[Event]:
    """Return the entries that changed since the last settle."""
    for key, counters in _select_changed(old.slices, new.slices):
        slice_counters = SliceCounters(**counters._asdict())
        yield _make_entry(
            partition, f"slice:{key}", ScreenMemory(slice=key, counters=slice_counters), str(counters.seen)
        )
    for key, kept in _select_changed(old.kept, new.kept):
        body = ScreenMemory(
            camera=key,
            kept_dhashes=tuple(frame.dhash for frame in kept),
            kept_objects=tuple(dict(frame.objects) for frame in kept),
            kept_embeddings=tuple(as_text(frame.embedding) for frame in kept),
            kept_brightness=tuple(frame.brightness for frame in kept),
        )
        yield _make_entry(partition, f"camera:{key}", body, kept[-1].dhash)
    for key, usual in _select_changed(old.sharpness, new.sharpness):
        usual_sharpness = UsualSharpness(median=usual.median, seen=usual.seen, in_a_row=usual.in_a_row)
        yield _make_entry(
            partition, f"sharpness:{key}", ScreenMemory(camera=key, sharpness=usual_sharpness), str(usual.seen)
        )
    for key, allowances in _select_changed(old.allowances, new.allowances):
        body = ScreenMemory(tenant=key, allowances=dict(allowances))
        yield _make_entry(partition, f"rules:{key}", body, body.model_dump_json())
    for key, scenery in _select_changed(old.scenery, new.scenery):
        scenery_state = SceneryState(eye=scenery.eye, seen=scenery.seen, moments=as_text(scenery.moments))
        yield _make_entry(
            partition, f"scenery:{key}", ScreenMemory(scene_of=key, scenery=scenery_state), str(scenery.seen)
        )
    for key, echo in _select_changed(old.echoes, new.echoes):
        body = ScreenMemory(camera=key, drive=echo.drive, echo=echo.value)
        yield _make_entry(partition, f"echo:{key}", body, body.model_dump_json())
    for key, packed in _select_changed(old.latest, new.latest):
        yield _make_entry(partition, f"latest:{key}", ScreenMemory(camera=key, latest=as_text(packed)), as_text(packed))
    for key, stride in _select_changed(old.strides, new.strides):
        yield _make_entry(partition, f"stride:{key}", ScreenMemory(slice=key, stride=stride), str(stride))
    for key, scenes_of_slice in _select_changed(old.kept_scenes, new.kept_scenes):
        yield from _describe_scenes(partition, key, old.kept_scenes.get(key, NOTHING_KEPT), scenes_of_slice)
    yield from _describe_rates(partition, old, new)


def _select_changed(old: Mapping[str, V], new: Mapping[str, V]) -> Iterable[tuple[str, V]]:
    return ((key, value) for key, value in new.items() if old.get(key) is not value)


def _describe_scenes(partition: int, key: str, old: KeptScenes, new: KeptScenes) -> Iterable[Event]:
    """Return the scenes that were kept since: each has its own place in turn."""
    since = new.blocks[0].number
    for block, number, scene in new.since(old.next_number):
        kept_scene = KeptScene(eye=new.eye, number=number, shelf=block.number, since=since, scene=as_text(pack(scene)))
        place = f"scene:{key}#{number % SCENE_PLACES}"
        yield _make_entry(partition, place, ScreenMemory(slice=key, kept_scene=kept_scene), str(number))


def _describe_rates(partition: int, old: Memory, new: Memory) -> Iterable[Event]:
    for key, versions in _select_changed(old.versions, new.versions):
        body = ScreenMemory(tenant=key, versions=tuple(sorted(versions)))
        yield _make_entry(partition, f"versions:{key}", body, body.model_dump_json())
    for key, rate in _select_changed(old.rates, new.rates):
        yield from _describe_rate(partition, key, old.rates.get(key, NOTHING_KNOWN), rate)
    for key in old.rates:
        if key not in new.rates:
            yield from _make_tombstones(partition, key)


def _describe_rate(partition: int, key: str, old: KeepRate, new: KeepRate) -> Iterable[Event]:
    """Return a controller's state, and of its scores the segments that changed: each has its own place in turn."""
    mark = f"{new.newest.number}.{new.newest.received}"
    state = KeepRateState(
        first=new.segments[0].number,
        debt=new.debt,
        threshold=new.threshold,
        recent=new.recent,
        scale=new.scale,
        reach=new.reach,
    )
    yield _make_entry(partition, f"rate:{key}", ScreenMemory(slice=key, keep_rate=state), mark)
    known_ids = {id(segment) for segment in old.segments}
    # of an earlier life, where a version's rates were forgotten and began anew within one batch
    outdated = [segment.number for segment in old.segments if segment.number > new.newest.number]
    yield from (_make_tombstone(partition, f"segment:{key}#{number % SEGMENT_PLACES}") for number in outdated)
    for segment in new.segments:
        if id(segment) not in known_ids:
            body = RingSegment(number=segment.number, received=segment.received, scores=segment.scores)
            place = f"segment:{key}#{segment.number % SEGMENT_PLACES}"
            yield _make_entry(partition, place, ScreenMemory(slice=key, segment=body), mark)


def _make_tombstones(partition: int, key: str) -> Iterable[Event]:
    """Return what makes the topic forget a controller."""
    places = (f"segment:{key}#{place}" for place in range(SEGMENT_PLACES))
    return (_make_tombstone(partition, name) for name in (f"rate:{key}", *places))


def _make_tombstone(partition: int, name: str) -> Event:
    return Event(TOPIC, name.encode(), None, (), partition)


def _make_entry(partition: int, key: str, body: ScreenMemory, mark: str) -> Event:
    return to_cloud_event(
        TOPIC,
        body,
        id=derive_id("memory", partition, key, mark),
        source="/roadloop/screen",
        tenant=key.split(":", 1)[1].split("/", 1)[0],
        key=key,
        time=datetime.fromtimestamp(0, UTC),
        partition=partition,
    )


def rebuild(records: Sequence[Record], before: Mapping[bytes, bytes] = NOTHING) -> Memory:
    """Return the memory that a partition's entries describe, with those `before` them: the newest of each key."""
    newest = newest_of(records, before)
    return _read_memory([ScreenMemory.model_validate_json(value) for value in newest.values()])


def newest_of(records: Iterable[Record], before: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the newest value of each key, but for what was forgotten since."""
    newest = {**before, **{record.key or b"": record.value for record in records}}
    return {key: value for key, value in newest.items() if value is not None}


def _read_memory(entries: Sequence[ScreenMemory]) -> Memory:
    sharpness = {entry.camera: entry.sharpness for entry in entries if entry.camera and entry.sharpness}
    scenes = {entry.scene_of: entry.scenery for entry in entries if entry.scene_of and entry.scenery}
    counters = {entry.slice: entry.counters for entry in entries if entry.slice and entry.counters}
    echoes = {e.camera: Echo(e.drive or "", e.echo) for e in entries if e.camera and e.echo is not None}
    return Memory(
        slices=immutables.Map(
            {key: Counters(**slice_counters.model_dump()) for key, slice_counters in counters.items()}
        ),
        sharpness=immutables.Map({key: Sharpness(u.median, u.seen, u.in_a_row) for key, u in sharpness.items()}),
        echoes=immutables.Map(echoes),
        allowances=immutables.Map({e.tenant: e.allowances for e in entries if e.tenant and not e.versions}),
        rates=immutables.Map(_read_rates(entries)),
        kept=immutables.Map(
            {entry.camera: _read_kept_frames(entry) for entry in entries if entry.camera and entry.kept_dhashes}
        ),
        scenery=immutables.Map({key: _read_scenery(state) for key, state in scenes.items()}),
        kept_scenes=immutables.Map(_read_kept_scenes(entries)),
        latest=immutables.Map({e.camera: from_text(e.latest) for e in entries if e.camera and e.latest}),
        strides=immutables.Map({e.slice: e.stride for e in entries if e.slice and e.stride is not None}),
        versions=immutables.Map({e.tenant: frozenset(e.versions) for e in entries if e.tenant and e.versions}),
    )


def _read_kept_frames(entry: ScreenMemory) -> tuple[KeptFrame, ...]:
    """Return a camera's kept frames; in entries from before scenes were looked at they have their hashes alone."""
    objects = entry.kept_objects or ({},) * len(entry.kept_dhashes)
    embeddings = entry.kept_embeddings or ("",) * len(entry.kept_dhashes)
    brightness = entry.kept_brightness or (None,) * len(entry.kept_dhashes)
    fields = zip(entry.kept_dhashes, objects, embeddings, brightness, strict=True)
    return tuple(
        KeptFrame(dhash, tuple(sorted(counts.items())), from_text(text), light) for dhash, counts, text, light in fields
    )


def _read_scenery(state: SceneryState) -> Scenery:
    return Scenery(state.eye, state.seen, from_text(state.moments))


def _read_kept_scenes(entries: Sequence[ScreenMemory]) -> Mapping[str, KeptScenes]:
    """Return each slice's kept scenes: the newest of each says which ones are still looked at."""
    scenes: dict[str, dict[int, KeptScene]] = {}
    for entry in entries:
        if entry.slice and entry.kept_scene:
            scenes.setdefault(entry.slice, {})[entry.kept_scene.number] = entry.kept_scene
    return {
        key: _join_kept_scenes([by_number[number] for number in sorted(by_number)]) for key, by_number in scenes.items()
    }


def _join_kept_scenes(scenes: Sequence[KeptScene]) -> KeptScenes:
    lasting = [scene for scene in scenes if scene.number >= scenes[-1].since]
    blocks = [_read_block(number, list(group)) for number, group in groupby(lasting, key=lambda scene: scene.shelf)]
    return KeptScenes(scenes[-1].eye, tuple(blocks))


def _read_block(number: int, scenes: Sequence[KeptScene]) -> SceneBlock:
    vectors = [unpack(from_text(scene.scene)) for scene in scenes]
    return SceneBlock(number, len(vectors[0]), b"".join(vector.astype("<f4").tobytes() for vector in vectors))


def _read_rates(entries: Sequence[ScreenMemory]) -> Mapping[str, KeepRate]:
    """Return the controllers from their states and their scores; those before the first segment are forgotten ones."""
    segments: dict[str, dict[int, Segment]] = {}
    for entry in entries:
        if entry.slice and entry.segment:
            segment = entry.segment
            segments.setdefault(entry.slice, {})[segment.number] = _read_segment(segment)
    states = {entry.slice: entry.keep_rate for entry in entries if entry.slice and entry.keep_rate}
    return {key: _read_rate(state, segments.get(key, {})) for key, state in states.items()}


def _read_rate(state: KeepRateState, segments: Mapping[int, Segment]) -> KeepRate:
    lasting = [segments[number] for number in sorted(segments) if number >= state.first] or [Segment(state.first)]
    return KeepRate(
        lasting[-1], tuple(lasting[:-1]), state.debt, state.threshold, state.recent, state.scale, state.reach
    )


def _read_segment(segment: RingSegment) -> Segment:
    return Segment(segment.number, segment.received, struct.pack(f"{len(segment.scores)}d", *segment.scores))
