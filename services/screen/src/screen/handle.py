"""The story of a unit: fetch its pictures, ask the models, then one verdict per frame, in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome, Transient
from roadloop_runtime.records import Event
from roadloop_schemas.frames import FramesIngested, IngestedFrame, ModelPair, ShadowVerdict, Verdict, VerdictReason
from roadloop_schemas.models import ModelServing, RolloutStage
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.decide_frame import DEFAULT_POLICY, judge, judge_as_shadow
from screen.decision.facts import Facts, facts_of, parts_of
from screen.decision.frame_keys import FrameKeys, eye_of
from screen.decision.scene_distance import Scene, scene_of
from screen.decision.serving_versions import ServingModels, candidate_pair, drawn, judges, serving_pair
from screen.decision.similarity import picture_of, remembered
from screen.decision.thresholds import budget_state
from screen.decision.verdict import draw
from screen.decision.verdict_event import describe
from screen.inference.predict import NOT_TRIED, ModelClient, Predictions, unanswered
from screen.memory.state import Memory
from screen.reasons import UnitReason
from screen.vision.detections import Judged, Unjudged

LATE = timedelta(hours=1)
Policies = Mapping[str, ScreenPolicy]


@dataclass(frozen=True, slots=True)
class Observation:
    """A unit with what the models saw; `serving` is None where the tenant has no model.

    `candidate` is what a version that is on its way saw of the same frames, where the unit was drawn for it: that is
    only written down. Where it judges the unit itself (`by_candidate`), what it saw are the `frames`.
    """

    unit: Received[FramesIngested]
    serving: ModelServing | None
    frames: Predictions = ()
    candidate: Predictions = ()
    by_candidate: bool = False


async def observe(
    unit: Received[FramesIngested], *, serving: Callable[[str], ModelServing | None], model_client: ModelClient
) -> Observation:
    """Look at every frame of a unit with the versions that serve now: they stay pinned for the whole unit."""
    model, frames = serving(unit.envelope.tenant), unit.body.frames
    if model is None:
        return Observation(unit, None)
    if is_backfill(unit):
        model_client = model_client.for_backfill()
    tried, candidate = drawn(model, unit.body.unit_id), candidate_pair(model)
    if tried is None or candidate is None:
        return Observation(unit, model, await model_client.predict(frames, serving_pair(model)))
    if tried.stage is RolloutStage.SHADOW:
        both = await model_client.predict_with_candidate(frames, serving_pair(model), candidate)
        return Observation(unit, model, *both)
    found = await _try_to_judge(model_client, frames, candidate)
    if not any(one.reason is VerdictReason.REFUSED_BY_MODEL for one in found if isinstance(one, Unjudged)):
        return Observation(unit, model, found, by_candidate=True)
    return Observation(unit, model, await model_client.predict(frames, serving_pair(model)), found)


def is_backfill(unit: Received[FramesIngested]) -> bool:
    """Say whether a unit can wait: it was a dead letter before, or its pictures came long after they were taken."""
    taken = max(frame.captured_at for frame in unit.body.frames)
    return unit.replayed or unit.body.received_at - taken > LATE


async def _try_to_judge(
    model_client: ModelClient, frames: Sequence[IngestedFrame], candidate: ModelPair
) -> Predictions:
    """Return what a version on its way makes of frames; where it fails, that: the serving one is asked instead.

    One request that failed is one failure, however many frames the unit has.
    """
    try:
        return await model_client.predict(frames, candidate)
    except Transient as error:
        if error.dependency != "triton":
            raise
        return (unanswered(error), *(NOT_TRIED,) * (len(frames) - 1))


def decide(memory: Memory, seen: Observation, policies: Policies, *, salt: bytes) -> tuple[Memory, Outcome]:
    """One verdict per frame, in the unit's order: each frame sees what the frame before it left in memory.

    `salt` is the audit's.
    """
    if seen.serving is None:
        return memory, _no_model(seen.unit.envelope.tenant)
    who = judges(seen.serving, seen.by_candidate)
    policy = policies.get(seen.unit.envelope.tenant, DEFAULT_POLICY)
    events: list[Event] = []
    for at in range(len(seen.frames)):
        memory, said = _screen(memory, seen, who, at, policy, salt=salt)
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
    memory: Memory, seen: Observation, who: ServingModels, at: int, policy: ScreenPolicy, *, salt: bytes
) -> tuple[Memory, Event]:
    frame, found = seen.unit.body.frames[at], seen.frames[at]
    body = seen.unit.body
    tenant = seen.unit.envelope.tenant
    where = FrameKeys(tenant, body.vehicle, frame.camera, frame.condition, body.drive, who.eye, who.versions)
    embedding = found.embedding if isinstance(found, Judged) and eye_of(who.models) == who.eye else b""
    boxes = found.boxes if isinstance(found, Judged) else ()
    picture = picture_of(frame, boxes, embedding)
    scene = scene_of(memory, where, embedding)
    lot = draw(frame.frame_id, salt)
    facts = facts_of(memory, frame, where, seen.frames, at, policy=policy, picture=picture, scene=scene, lot=lot)
    memory, shadow = _shadow(memory, seen, who, at, facts, policy=policy, scene=scene)
    budget = budget_state(memory, where, policy)
    memory, ruling, limits = judge(memory, facts, policy)
    memory = remembered(memory, where, picture, scene, kept=ruling.verdict is Verdict.KEPT)
    return memory, describe(
        seen.unit,
        frame,
        ruling,
        policy,
        facts=facts,
        models=who.models,
        limits=limits,
        budget=budget,
        counters=memory.slices[where.slice_key],
        boxes=boxes,
        picture=picture,
        shadow=shadow,
        prelabels=who.prelabels,
    )


def _shadow(
    memory: Memory, seen: Observation, who: ServingModels, at: int, facts: Facts, *, policy: ScreenPolicy, scene: Scene
) -> tuple[Memory, ShadowVerdict | None]:
    """Return what a version on its way would have made of a frame that the serving one has judged."""
    if not seen.candidate or who.tried is None or facts.unjudged is not None or seen.candidate[at] is NOT_TRIED:
        return memory, None
    found, version = seen.candidate[at], who.tried.version
    if isinstance(found, Unjudged):
        return memory, ShadowVerdict(version=version, failure=found.detail or found.reason)
    alike = eye_of(who.tried) == who.eye  # else it will judge without the picture as a whole
    scene, cosine = (scene, facts.nearest_cosine) if alike else (Scene(), None)
    parts = parts_of(found, seen.candidate, at, policy=policy, scene=scene, cosine=cosine)
    memory, ruling = judge_as_shadow(memory, facts, version, parts, policy)
    kept = ruling.verdict is Verdict.KEPT
    return memory, ShadowVerdict(version=version, kept=kept, score=ruling.score, score_parts=parts)
