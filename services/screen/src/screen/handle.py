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
from roadloop_schemas.frames import (
    FramesIngested,
    IngestedFrame,
    ScreenPolicy,
    Verdict,
    VerdictReason,
)
from roadloop_schemas.models import ModelServing
from screen.describe import describe
from screen.detections import Box
from screen.limits import budgets, limits_of
from screen.memory import Memory
from screen.reasons import UnitReason
from screen.rules import within_allowance
from screen.sharpness import NOTHING_USUAL
from screen.verdict import Judged, Ruling, Standing, Unjudged, draw, rule

DEFAULT_POLICY = ScreenPolicy(version=0, threshold=0.5)

Policies = Mapping[str, ScreenPolicy]
Fetch = Callable[[ObjectRef], Awaitable[bytes]]
# (model, version, picture) -> boxes; raises RefusedByModel or Transient
Detect = Callable[[str, int, bytes], Awaitable[tuple[Box, ...]]]


class RefusedByModel(Exception):
    """The model server says that this picture never will work."""


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
    seats: asyncio.Semaphore,
) -> Seen:
    """Look at every frame of a unit with the versions that serve now: they stay pinned for the whole unit.

    The `seats` are those of all units: so many frames, and their pictures, are held at once.
    """
    model = serving(unit.envelope.tenant)
    if model is None:
        return Seen(unit, None)
    look = partial(_look_at, model=model, fetch=fetch, detect=detect)
    return Seen(unit, model, await gather_bounded(look, unit.body.frames, seats))


async def _look_at(frame: IngestedFrame, *, model: ModelServing, fetch: Fetch, detect: Detect) -> Judged | Unjudged:
    try:
        picture = await fetch(frame.object)
        boxes = await detect(model.model, model.version, picture)
        if model.second_model is None or model.second_version is None:
            return Judged(boxes)
        return Judged(boxes, await detect(model.second_model, model.second_version, picture))
    except ObjectMissing as error:
        return Unjudged(VerdictReason.OBJECT_MISSING, str(error))
    except ObjectChanged as error:
        return Unjudged(VerdictReason.OBJECT_CHANGED, str(error))
    except RefusedByModel as error:
        return Unjudged(VerdictReason.REFUSED_BY_MODEL, str(error)[:500])


def decide(memory: Memory, seen: Seen, policies: Policies, *, salt: bytes) -> tuple[Memory, Outcome]:
    """One verdict per frame, in the unit's order: each frame sees what the frame before it left in memory.

    `salt` is the audit's.
    """
    if seen.serving is None:
        return memory, _no_model(seen.unit.envelope.tenant)
    policy = policies.get(seen.unit.envelope.tenant, DEFAULT_POLICY)
    events: list[Event] = []
    for frame, found in zip(seen.unit.body.frames, seen.frames, strict=True):
        memory, said = _screen(memory, seen, frame, found, policy, lot=draw(frame.frame_id, salt))
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
    memory: Memory, seen: Seen, frame: IngestedFrame, found: Judged | Unjudged, policy: ScreenPolicy, *, lot: float
) -> tuple[Memory, Event]:
    tenant, vehicle = seen.unit.envelope.tenant, seen.unit.body.vehicle
    slice_key = f"{tenant}/{frame.condition}/{frame.camera}"
    camera_key = f"{tenant}/{vehicle}/{frame.camera}"
    limits = limits_of(memory, slice_key, tenant, policy)
    nearest = memory.nearest_kept(camera_key, frame.dhash)
    by_rule = within_allowance(policy.rules, frame, _all_boxes(found), memory.allowances.get(tenant, {}))
    usual = memory.sharpness.get(camera_key, NOTHING_USUAL)
    ruling = rule(frame, found, policy, Standing(lot, limits.threshold, nearest, usual, by_rule))
    memory = memory.count(slice_key, ruling.verdict).see(camera_key, frame.laplacian_variance, policy.blur_ratio)
    memory = memory.allow(tenant, policy.rules, ruling.rules)
    if policy.controlled:
        memory = _control(memory, ruling, budgets(slice_key, tenant, policy), policy)
    if ruling.verdict is Verdict.KEPT:
        memory = memory.keep(camera_key, frame.dhash)
    boxes = found.boxes if isinstance(found, Judged) else ()
    said = describe(
        seen.unit,
        frame,
        ruling,
        policy,
        serving=seen.serving,
        limits=limits,
        counters=memory.slices[slice_key],
        boxes=boxes,
    )
    return memory, said


def _all_boxes(found: Judged | Unjudged) -> tuple[Box, ...]:
    return (*found.boxes, *(found.second or ())) if isinstance(found, Judged) else ()


def _control(memory: Memory, ruling: Ruling, kept_shares: Mapping[str, float], policy: ScreenPolicy) -> Memory:
    """Let the controllers of a slice, and of its tenant as a whole, see a frame."""
    kept = ruling.verdict is Verdict.KEPT
    for key, budget in kept_shares.items():
        memory = memory.control(key, ruling.ranked, kept, budget=budget, audit_share=policy.audit_share)
    return memory
