"""The story of a unit: fetch its pictures, ask the models, then one verdict per frame, in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome, Transient
from roadloop_runtime.records import Event
from roadloop_schemas.frames import FramesIngested, IngestedFrame, ModelPair, VerdictReason
from roadloop_schemas.models import ModelServing, RolloutStage
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.screen_frame import DEFAULT_POLICY, UnitAnswers, screen_frame
from screen.decision.serving_versions import candidate_pair, choose_judges, draw_candidate, serving_pair
from screen.inference.backfill_priority import is_backfill
from screen.inference.candidate_timeout import NOT_TRIED, describe_failure
from screen.inference.predict import ModelClient, Predictions
from screen.memory.state import Memory
from screen.progress import Progress
from screen.reasons import UnitReason
from screen.vision.detections import Unjudged

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
    unit: Received[FramesIngested],
    *,
    serving: Callable[[str], ModelServing | None],
    model_client: ModelClient,
    progress: Progress,
) -> Observation:
    """Look at every frame of a unit with the versions that serve now: they stay pinned for the whole unit."""
    with progress.follow(unit, model_client) as client:
        model = serving(unit.envelope.tenant)
        if model is None:
            return Observation(unit, None)
        return await _predict(unit, model, client.for_backfill() if is_backfill(unit) else client)


async def _predict(unit: Received[FramesIngested], model: ModelServing, client: ModelClient) -> Observation:
    """Ask the models that serve, and the version on its way where the unit was drawn for it."""
    frames, drawn, candidate = unit.body.frames, draw_candidate(model, unit.body.unit_id), candidate_pair(model)
    if drawn is None or candidate is None:
        return Observation(unit, model, await client.predict(frames, serving_pair(model)))
    if drawn.stage is RolloutStage.SHADOW:
        both = await client.predict_with_candidate(frames, serving_pair(model), candidate)
        return Observation(unit, model, *both)
    answers = await _predict_by_candidate(client, frames, candidate)
    if not any(isinstance(answer, Unjudged) and answer.reason is VerdictReason.REFUSED_BY_MODEL for answer in answers):
        return Observation(unit, model, answers, by_candidate=True)
    return Observation(unit, model, await client.predict(frames, serving_pair(model)), answers)


async def _predict_by_candidate(
    client: ModelClient, frames: Sequence[IngestedFrame], candidate: ModelPair
) -> Predictions:
    """Return what a version on its way makes of frames; where it fails, that: the serving one is asked instead.

    One request that failed is one failure, however many frames the unit has.
    """
    try:
        return await client.predict(frames, candidate)
    except Transient as error:
        if error.dependency != "triton":
            raise
        return (describe_failure(error), *(NOT_TRIED,) * (len(frames) - 1))


def decide(memory: Memory, seen: Observation, policies: Policies, *, salt: bytes) -> tuple[Memory, Outcome]:
    """One verdict per frame, in the unit's order: each frame sees what the frame before it left in memory.

    `salt` is the audit's.
    """
    if seen.serving is None:
        return memory, _no_model(seen.unit.envelope.tenant)
    policy = policies.get(seen.unit.envelope.tenant, DEFAULT_POLICY)
    judges = choose_judges(seen.serving, by_candidate=seen.by_candidate)
    answers = UnitAnswers(seen.unit, judges, seen.frames, seen.candidate)
    events: list[Event] = []
    for number in range(len(seen.frames)):
        memory, event = screen_frame(memory, answers, number, policy, salt=salt)
        events.append(event)
    return memory, Emit(tuple(events))


def _no_model(tenant: str) -> DeadLetter:
    return DeadLetter(
        UnitReason.NO_MODEL,
        detail=f"tenant {tenant} has no serving model",
        field="ce_tenant",
        rule="a tenant has a released model before its vehicles upload",
        remedy=f"release a model named detector.{tenant} (roadloop models seed), then replay",
    )
