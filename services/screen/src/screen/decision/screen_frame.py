"""One frame's verdict, and what it leaves in memory. Pure: history is judged anew by `judge`, without a picture."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from roadloop_runtime.decode import Received
from roadloop_runtime.records import Event
from roadloop_schemas.frames import FramesIngested, ShadowVerdict, Verdict
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.audit_lot import draw_lot
from screen.decision.decide_frame import Context, Decision, decide_frame
from screen.decision.facts import Facts, gather_facts, score_parts
from screen.decision.frame_keys import FrameKeys, eye_of
from screen.decision.near_duplicates import describe_picture, remember_picture
from screen.decision.scene_distance import Scene, measure_scene
from screen.decision.serving_versions import JudgingModels, put_first
from screen.decision.thresholds import SliceThreshold, describe_budget, find_threshold, list_budgets
from screen.decision.verdict_event import write_verdict
from screen.inference.candidate_timeout import NOT_TRIED
from screen.inference.predict import Predictions
from screen.memory.keep_rules import select_allowed
from screen.memory.sharpness import NOTHING_USUAL
from screen.memory.state import Memory
from screen.vision.detections import Judged, Unjudged

DEFAULT_POLICY = ScreenPolicy(version=0, threshold=0.5)


@dataclass(frozen=True, slots=True)
class UnitAnswers:
    """What the models that judge a unit saw in its `frames`, and what a version on its way saw beside them, if any."""

    unit: Received[FramesIngested]
    judges: JudgingModels
    frames: Predictions
    candidate: Predictions = ()


def screen_frame(
    memory: Memory, answers: UnitAnswers, number: int, policy: ScreenPolicy, *, salt: bytes
) -> tuple[Memory, Event]:
    """Return the verdict on frame `number` of a unit as its event, and the memory that the next frame sees.

    `salt` is the audit's.
    """
    unit, judges = answers.unit, answers.judges
    frame, answer = unit.body.frames[number], answers.frames[number]
    keys = FrameKeys(
        *(unit.envelope.tenant, unit.body.vehicle, frame.camera, frame.condition, unit.body.drive),
        *(judges.eye, judges.versions),
    )
    boxes = answer.boxes if isinstance(answer, Judged) else ()
    embedding = answer.embedding if isinstance(answer, Judged) and eye_of(judges.models) == judges.eye else b""
    picture, scene = describe_picture(frame, boxes, embedding), measure_scene(memory, keys, embedding)
    facts = gather_facts(
        *(memory, frame, keys, answers.frames, number),
        policy=policy,
        picture=picture,
        scene=scene,
        lot=draw_lot(frame.frame_id, salt),
    )
    memory, shadow = _judge_beside(memory, answers, number, facts, policy=policy, scene=scene)
    budget = describe_budget(memory, keys, policy)
    memory, decision, threshold = judge(memory, facts, policy)
    memory = remember_picture(memory, keys, picture, scene, kept=decision.verdict is Verdict.KEPT)
    return memory, write_verdict(
        unit,
        frame,
        decision,
        policy,
        facts=facts,
        judges=judges,
        threshold=threshold,
        budget=budget,
        counters=memory.slices[keys.slice_key],
        boxes=boxes,
        picture=picture,
        shadow=shadow,
    )


def _judge_beside(
    memory: Memory, answers: UnitAnswers, number: int, facts: Facts, *, policy: ScreenPolicy, scene: Scene
) -> tuple[Memory, ShadowVerdict | None]:
    """Return what a version on its way would have made of a frame that the serving one has judged."""
    judges, candidate = answers.judges, answers.candidate
    if not candidate or judges.tried is None or facts.unjudged is not None or candidate[number] is NOT_TRIED:
        return memory, None
    answer, version = candidate[number], judges.tried.version
    if isinstance(answer, Unjudged):
        return memory, ShadowVerdict(version=version, failure=answer.detail or answer.reason)
    is_comparable = eye_of(judges.tried) == judges.eye  # else it will judge without the picture as a whole
    scene, cosine = (scene, facts.nearest_cosine) if is_comparable else (Scene(), None)
    parts = score_parts(answer, candidate, number, policy=policy, scene=scene, cosine=cosine)
    memory, decision = judge_as_shadow(memory, facts, version, parts, policy)
    kept = decision.verdict is Verdict.KEPT
    return memory, ShadowVerdict(version=version, kept=kept, score=decision.score, score_parts=parts)


def judge(memory: Memory, facts: Facts, policy: ScreenPolicy) -> tuple[Memory, Decision, SliceThreshold]:
    """Return the verdict on a frame, what it was held against, and the memory with the frame counted."""
    keys = facts.keys
    memory = memory.forget_other_versions(keys.tenant, keys.versions)
    decision, threshold = _rule(memory, facts, policy)
    kept = decision.verdict is Verdict.KEPT
    counted = memory.with_frame(
        memory.update_counters(keys.slice_key, decision.verdict),
        memory.update_sharpness(keys.camera_key, facts.laplacian_variance, policy.blur_ratio),
        memory.update_echoes(keys.camera_key, keys.drive, decision.chance if kept else 0.0),
        memory.update_allowances(keys.tenant, policy.rules, decision.rules),
        memory.update_rates(list_budgets(keys, policy), decision.ranked, kept, policy=policy, scale=threshold.scale),
    )
    return counted, decision, threshold


def judge_as_shadow(
    memory: Memory, facts: Facts, version: int, parts: Mapping[str, float], policy: ScreenPolicy
) -> tuple[Memory, Decision]:
    """Return what a version on its way would make of a frame, before it is judged, and the memory with its rates moved.

    `parts` are those of its score. So it has thresholds of its own by the time it judges; nothing else of the memory
    knows of it.
    """
    keys = replace(facts.keys, versions=put_first(version, facts.keys.versions))
    memory = memory.forget_other_versions(keys.tenant, keys.versions)
    decision, threshold = _rule(memory, facts._replace(keys=keys, parts=parts), policy)
    rates = memory.update_rates(list_budgets(keys, policy), decision.ranked, None, policy=policy, scale=threshold.scale)
    return memory._replace(rates=rates), decision


def _rule(memory: Memory, facts: Facts, policy: ScreenPolicy) -> tuple[Decision, SliceThreshold]:
    keys = facts.keys
    threshold = find_threshold(memory, keys, policy)
    by_rule = select_allowed(facts.matched, memory.allowances.get(keys.tenant, {}))
    usual = memory.sharpness.get(keys.camera_key, NOTHING_USUAL)
    echo = memory.echo(keys.camera_key, keys.drive)
    return decide_frame(facts, policy, Context(threshold.value, usual, by_rule, echo)), threshold
