"""One frame's verdict, and what it leaves in memory. Pure: also history is judged anew by this, without a picture."""

from collections.abc import Mapping

from roadloop_schemas.frames import Verdict
from roadloop_schemas.policies import ScreenPolicy
from screen.facts import Facts
from screen.limits import Limits, budgets, limits_of
from screen.memory import Memory
from screen.rules import within_allowance
from screen.sharpness import NOTHING_USUAL
from screen.verdict import Ruling, Standing, rule


def judge(memory: Memory, facts: Facts, policy: ScreenPolicy) -> tuple[Memory, Ruling, Limits]:
    """Return the verdict on a frame, what it was held against, and the memory with the frame counted."""
    where = facts.where
    limits = limits_of(memory, where.slice_key, where.tenant, policy)
    by_rule = within_allowance(facts.matched, memory.allowances.get(where.tenant, {}))
    usual = memory.sharpness.get(where.camera_key, NOTHING_USUAL)
    echo = memory.echo(where.camera_key, where.drive)
    ruling = rule(facts, policy, Standing(limits.threshold, usual, by_rule, echo))
    memory = memory.tally(where.slice_key, ruling.verdict)
    memory = memory.see(where.camera_key, facts.laplacian_variance, policy.blur_ratio)
    memory = memory.resound(where.camera_key, where.drive, ruling.verdict is Verdict.KEPT)
    memory = memory.allow(where.tenant, policy.rules, ruling.rules)
    if policy.controlled:
        shares = budgets(where.slice_key, where.tenant, policy)
        memory = _control(memory, ruling, shares, policy, scale=limits.scale)
    return memory, ruling, limits


def _control(
    memory: Memory, ruling: Ruling, kept_shares: Mapping[str, float], policy: ScreenPolicy, *, scale: str
) -> Memory:
    """Let the controllers of a slice, and of its tenant as a whole, see a frame."""
    kept = ruling.verdict is Verdict.KEPT
    for key, budget in kept_shares.items():
        memory = memory.control(key, ruling.ranked, kept, budget=budget, policy=policy, scale=scale)
    return memory
