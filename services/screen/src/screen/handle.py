"""The story of a unit: fetch its pictures, ask the models, then one verdict per frame, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from roadloop_runtime.decode import Received
from roadloop_runtime.gather import gather_bounded
from roadloop_runtime.objects import ObjectChanged, ObjectMissing
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome
from roadloop_runtime.records import Event, event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import Detection, ObjectRef
from roadloop_schemas.frames import (
    BudgetState,
    FrameScreened,
    FramesIngested,
    IngestedFrame,
    ModelPair,
    ScreenPolicy,
    SliceCounters,
    Verdict,
    VerdictReason,
)
from roadloop_schemas.models import ModelServing
from screen.detections import Box
from screen.keep_rate import NOTHING_KNOWN, wanted_share
from screen.memory import Memory
from screen.reasons import UnitReason
from screen.rules import within_allowance
from screen.sharpness import NOTHING_USUAL
from screen.verdict import Judged, Ruling, Standing, Unjudged, draw, rule

DEFAULT_POLICY = ScreenPolicy(version=0, threshold=0.5)
PRELABELS_AT_MOST = 100
PRELABEL_FLOOR = 0.05

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


@dataclass(frozen=True, slots=True)
class Limits:
    """What a frame's score is held against: the threshold, and where it comes from, if not from the policy."""

    threshold: float
    budget: float
    state: BudgetState | None = None


def limits_of(memory: Memory, slice_key: str, tenant: str, policy: ScreenPolicy) -> Limits:
    """Return the limits of a slice: its own, while it is young its tenant's, and before that the policy's."""
    budget = policy.slice_budgets.get(slice_key.removeprefix(f"{tenant}/"), policy.keep_budget)
    if not policy.controlled:
        return Limits(policy.threshold, budget)
    known = memory.threshold(slice_key, whole(tenant))
    rate = memory.rates.get(slice_key, NOTHING_KNOWN)
    state = BudgetState(
        budget=budget,
        share=round(wanted_share(rate, budget, policy.audit_share), 6),
        debt=rate.debt,
        scores=0 if rate.threshold is None else rate.size,
    )
    return Limits(policy.threshold if known is None else known, budget, state)


def whole(tenant: str) -> str:
    """Return the key of a tenant's keep rate over all slices."""
    return f"{tenant}/*"


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
        memory = _control(memory, ruling, _budgets(slice_key, tenant, policy), policy)
    if ruling.verdict is Verdict.KEPT:
        memory = memory.keep(camera_key, frame.dhash)
    boxes = found.boxes if isinstance(found, Judged) else ()
    body = _describe(seen, frame, ruling, policy, limits, boxes=boxes, counters=memory.slices[slice_key])
    return memory, _event(seen, frame, body)


def _all_boxes(found: Judged | Unjudged) -> tuple[Box, ...]:
    return (*found.boxes, *(found.second or ())) if isinstance(found, Judged) else ()


def _budgets(slice_key: str, tenant: str, policy: ScreenPolicy) -> dict[str, float]:
    """Return whose controllers see a frame: its slice's, and the tenant's where the slice has no budget of its own."""
    own = policy.slice_budgets.get(slice_key.removeprefix(f"{tenant}/"))
    if own is not None:
        return {slice_key: own}
    return {slice_key: policy.keep_budget, whole(tenant): policy.keep_budget}


def _control(memory: Memory, ruling: Ruling, budgets: Mapping[str, float], policy: ScreenPolicy) -> Memory:
    """Let the controllers of a slice, and of its tenant as a whole, see a frame."""
    kept = ruling.verdict is Verdict.KEPT
    for key, budget in budgets.items():
        memory = memory.control(key, ruling.ranked, kept, budget=budget, audit_share=policy.audit_share)
    return memory


def _describe(
    seen: Seen,
    frame: IngestedFrame,
    ruling: Ruling,
    policy: ScreenPolicy,
    limits: Limits,
    *,
    boxes: tuple[Box, ...],
    counters: SliceCounters,
) -> FrameScreened:
    unit = seen.unit.body
    return FrameScreened.model_validate(
        {
            "frame_id": frame.frame_id,
            "unit_id": unit.unit_id,
            "upload_id": unit.upload_id,
            "vehicle": unit.vehicle,
            "drive": unit.drive,
            "object": frame.object,
            "captured_at": frame.captured_at,
            "received_at": unit.received_at,
            "width_px": frame.width_px,
            "height_px": frame.height_px,
            "verdict": ruling.verdict,
            "reasons": ruling.reasons,
            "rules": ruling.rules,
            "detail": ruling.detail,
            "slice": f"{frame.condition}/{frame.camera}",
            "condition": frame.condition,
            "models": pair(seen.serving),
            "policy_version": policy.version,
            "threshold": limits.threshold,
            "budget": limits.state,
            "score": ruling.score,
            "score_parts": dict(ruling.parts),
            "audit": ruling.audit,
            "inclusion_probability": policy.audit_share if ruling.reasons == (VerdictReason.AUDIT,) else 1.0,
            "counters": counters,
            "replayed": seen.unit.replayed,
            "detections": _shown(boxes) if ruling.verdict is Verdict.KEPT else (),
        }
    )


def pair(serving: ModelServing | None) -> ModelPair | None:
    if serving is None:
        return None
    return ModelPair(
        name=serving.model,
        version=serving.version,
        second_name=serving.second_model if serving.second_version is not None else None,
        second_version=serving.second_version,
    )


def _shown(boxes: tuple[Box, ...]) -> tuple[Detection, ...]:
    """Return what travels with a kept frame: the best boxes, well-formed and inside the picture."""
    best = sorted((box for box in boxes if box.score >= PRELABEL_FLOOR), key=lambda box: -box.score)
    clipped = [(box, *_inside(box)) for box in best[:PRELABELS_AT_MOST]]
    return tuple(
        Detection(x1=x1, y1=y1, x2=x2, y2=y2, class_name=box.class_name, score=round(box.score, 4))
        for box, x1, y1, x2, y2 in clipped
        if x2 > x1 and y2 > y1
    )


def _inside(box: Box) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(min(1.0, max(0.0, edge)), 5) for edge in (box.x1, box.y1, box.x2, box.y2))
    return x1, y1, x2, y2


def _event(seen: Seen, frame: IngestedFrame, body: FrameScreened) -> Event:
    envelope = seen.unit.envelope
    return event(
        "frames.screened.v1",
        body,
        id=derive_id(envelope.source, envelope.id, frame.frame_id),
        source="/roadloop/screen",
        tenant=envelope.tenant,
        key=seen.unit.body.vehicle,
        time=frame.captured_at,
        subject=frame.frame_id,
        partition=seen.unit.partition,
    )
