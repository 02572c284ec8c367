"""One frame's verdict, and what it leaves in memory. Pure: also history is judged anew by this, without a picture."""

from collections.abc import Mapping
from dataclasses import replace

from roadloop_schemas.frames import Verdict
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.facts import Facts
from screen.decision.serving_versions import first
from screen.decision.thresholds import Limits, budgets, limits_of
from screen.decision.verdict import Context, Decision, rule
from screen.memory.keep_rules import within_allowance
from screen.memory.sharpness import NOTHING_USUAL
from screen.memory.state import Memory

DEFAULT_POLICY = ScreenPolicy(version=0, threshold=0.5)


def judge(memory: Memory, facts: Facts, policy: ScreenPolicy) -> tuple[Memory, Decision, Limits]:
    """Return the verdict on a frame, what it was held against, and the memory with the frame counted."""
    where = facts.where
    memory = memory.only(where.tenant, where.versions)
    ruling, limits = _rule(memory, facts, policy)
    kept = ruling.verdict is Verdict.KEPT
    counted = memory.with_frame(
        memory.tallied(where.slice_key, ruling.verdict),
        memory.usual_after(where.camera_key, facts.laplacian_variance, policy.blur_ratio),
        memory.resounding(where.camera_key, where.drive, ruling.chance if kept else 0.0),
        memory.allowed(where.tenant, policy.rules, ruling.rules),
        memory.controlled(budgets(where, policy), ruling.ranked, kept, policy=policy, scale=limits.scale),
    )
    return counted, ruling, limits


def judge_as_shadow(
    memory: Memory, facts: Facts, version: int, parts: Mapping[str, float], policy: ScreenPolicy
) -> tuple[Memory, Decision]:
    """Return what a version on its way would make of a frame, before it is judged, and the memory with its rates moved.

    `parts` are those of its score. So it has thresholds of its own by the time it judges; nothing else of the memory
    knows of it.
    """
    where = replace(facts.where, versions=first(version, facts.where.versions))
    memory = memory.only(where.tenant, where.versions)
    ruling, limits = _rule(memory, facts._replace(where=where, parts=parts), policy)
    rates = memory.controlled(budgets(where, policy), ruling.ranked, None, policy=policy, scale=limits.scale)
    return memory._replace(rates=rates), ruling


def _rule(memory: Memory, facts: Facts, policy: ScreenPolicy) -> tuple[Decision, Limits]:
    where = facts.where
    limits = limits_of(memory, where, policy)
    by_rule = within_allowance(facts.matched, memory.allowances.get(where.tenant, {}))
    usual = memory.sharpness.get(where.camera_key, NOTHING_USUAL)
    echo = memory.echo(where.camera_key, where.drive)
    return rule(facts, policy, Context(limits.threshold, usual, by_rule, echo)), limits
