"""The story of a unit: fetch its pictures, ask the models, then one verdict per frame, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from roadloop_runtime.decode import Received
from roadloop_runtime.gather import gather_bounded
from roadloop_runtime.objects import ObjectChanged, ObjectMissing
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome
from roadloop_runtime.records import Event
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import FramesIngested, IngestedFrame, ModelPair, Verdict, VerdictReason
from roadloop_schemas.models import ModelServing
from roadloop_schemas.policies import ScreenPolicy
from screen.describe import describe, pair
from screen.detections import Look
from screen.facts import PERHAPS_THERE, Judged, Unjudged, facts_of, objects_in
from screen.judge import judge
from screen.limits import budget_state
from screen.memory import KeptFrame, Memory
from screen.reasons import UnitReason
from screen.scene import scene_of
from screen.verdict import draw
from screen.where import Where, eye_of

DEFAULT_POLICY = ScreenPolicy(version=0, threshold=0.5)
MAX_PICTURE_BYTES = 20 * 1024 * 1024

Models = tuple[tuple[str, int], ...]  # name, version
Policies = Mapping[str, ScreenPolicy]
Fetch = Callable[[ObjectRef], Awaitable[bytes]]
# (model, version, picture) -> what the model makes of it; raises RefusedByModel or Transient
Detect = Callable[[str, int, bytes], Awaitable[Look]]


class RefusedByModel(Exception):
    """The model server says that this picture never will work."""


@dataclass(frozen=True, slots=True)
class Seats:
    """What all units share: how many pictures are held at once, and how many requests wait at the model server.

    More pictures than requests: the next ones are fetched while the server is busy.
    """

    pictures: asyncio.Semaphore
    requests: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class Seen:
    """A unit with what the models saw; `serving` is None where the tenant has no model."""

    unit: Received[FramesIngested]
    serving: ModelServing | None
    frames: tuple[Judged | Unjudged, ...] = ()


async def observe(
    unit: Received[FramesIngested],
    *,
    serving: Callable[[str], ModelServing | None],
    fetch: Fetch,
    detect: Detect,
    seats: Seats,
) -> Seen:
    """Look at every frame of a unit with the versions that serve now: they stay pinned for the whole unit."""
    model = serving(unit.envelope.tenant)
    if model is None:
        return Seen(unit, None)
    look = partial(_look_at, models=_asked(pair(model)), fetch=fetch, detect=detect, requests=seats.requests)
    return Seen(unit, model, await gather_bounded(look, unit.body.frames, seats.pictures))


async def _look_at(
    frame: IngestedFrame, *, models: Models, fetch: Fetch, detect: Detect, requests: asyncio.Semaphore
) -> Judged | Unjudged:
    if frame.object.size_bytes > MAX_PICTURE_BYTES:
        return Unjudged(VerdictReason.REFUSED_BY_MODEL, f"more than {MAX_PICTURE_BYTES} bytes are not even fetched")
    try:
        picture = await fetch(frame.object)
        looks = await gather_bounded(lambda pair: detect(*pair, picture), models, requests)
        return Judged(looks[0].boxes, looks[1].boxes if len(looks) > 1 else None, looks[-1].embedding)
    except ObjectMissing as error:
        return Unjudged(VerdictReason.OBJECT_MISSING, str(error))
    except ObjectChanged as error:
        return Unjudged(VerdictReason.OBJECT_CHANGED, str(error))
    except RefusedByModel as error:
        return Unjudged(VerdictReason.REFUSED_BY_MODEL, str(error)[:500])


def _asked(models: ModelPair) -> Models:
    """Return the models to ask together, the serving one first."""
    if models.second_name is None or models.second_version is None:
        return ((models.name, models.version),)
    return (models.name, models.version), (models.second_name, models.second_version)


def decide(memory: Memory, seen: Seen, policies: Policies, *, salt: bytes) -> tuple[Memory, Outcome]:
    """One verdict per frame, in the unit's order: each frame sees what the frame before it left in memory.

    `salt` is the audit's.
    """
    if seen.serving is None:
        return memory, _no_model(seen.unit.envelope.tenant)
    policy = policies.get(seen.unit.envelope.tenant, DEFAULT_POLICY)
    events: list[Event] = []
    for at in range(len(seen.frames)):
        memory, said = _screen(memory, seen, seen.serving, at, policy, salt=salt)
        events.append(said)
    return memory, Emit(tuple(events))


def _no_model(tenant: str) -> DeadLetter:
    return DeadLetter(
        UnitReason.NO_MODEL,
        detail=f"tenant {tenant} has no serving model",
        field="ce_tenant",
        rule="a tenant has a released model before its vehicles upload",
        remedy=f"release a model named detector.{tenant} (roadloop models seed), then replay",
    )


def _screen(
    memory: Memory, seen: Seen, serving: ModelServing, at: int, policy: ScreenPolicy, *, salt: bytes
) -> tuple[Memory, Event]:
    frame, found = seen.unit.body.frames[at], seen.frames[at]
    body = seen.unit.body
    tenant = seen.unit.envelope.tenant
    where = Where(tenant, body.vehicle, frame.camera, frame.condition, body.drive, eye_of(pair(serving)))
    embedding = found.embedding if isinstance(found, Judged) else b""
    boxes = found.boxes if isinstance(found, Judged) else ()
    scene = scene_of(memory, where, embedding)
    lot = draw(frame.frame_id, salt)
    facts = facts_of(memory, frame, where, seen.frames, at, policy=policy, scene=scene, lot=lot)
    budget = budget_state(memory, where.slice_key, where.tenant, policy)
    memory, ruling, limits = judge(memory, facts, policy)
    memory = memory.look(where.tenant, where.slice_key, where.eye, embedding)
    memory = memory.pass_by(where.camera_key, where.slice_key, embedding, scene.step)
    if ruling.verdict is Verdict.KEPT:
        memory = memory.keep(where.camera_key, KeptFrame(frame.dhash, objects_in(boxes, PERHAPS_THERE), embedding))
        memory = memory.hang(where.slice_key, where.eye, scene.direction)
    return memory, describe(
        seen.unit,
        frame,
        ruling,
        policy,
        facts=facts,
        serving=serving,
        limits=limits,
        budget=budget,
        counters=memory.slices[where.slice_key],
        boxes=boxes,
        embedding=embedding,
    )
