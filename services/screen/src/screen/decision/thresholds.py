"""What a frame's score is held against: its slice's threshold and budget, or who stands in for a young slice. Pure."""

from typing import NamedTuple

from roadloop_schemas.frames import BudgetState
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.frame_keys import FrameKeys, RateKeys
from screen.decision.score import scale_of
from screen.memory.keep_rate import wanted_share
from screen.memory.state import Memory


class Limits(NamedTuple):
    """What a frame's score is held against: the threshold. `scale` names what makes the scores."""

    threshold: float
    scale: str


def limits_of(memory: Memory, where: FrameKeys, policy: ScreenPolicy) -> Limits:
    """Return the limits of a slice: its own, while it is young its tenant's, and before that the policy's.

    Those are by version of the model; a new version's stand-ins come before the policy. Where the threshold is shared,
    it is the tenant's, held between the scores that the slice's range reaches.
    """
    scale = scale_of(policy)
    if not policy.controlled:
        return Limits(policy.threshold, scale)
    for keys in where.rate_keys:
        known = _threshold(memory, keys, policy, scale)
        if known is not None:
            return Limits(known, scale)
    return Limits(policy.threshold, scale)


def _threshold(memory: Memory, keys: RateKeys, policy: ScreenPolicy, scale: str) -> float | None:
    mine, whole = memory.rate(keys.mine, scale), memory.rate(keys.whole, scale).threshold
    if not policy.shared:
        return whole if mine.threshold is None else mine.threshold
    return whole if whole is None or mine.reach is None else min(max(whole, mine.reach[0]), mine.reach[1])


def budget_state(memory: Memory, where: FrameKeys, policy: ScreenPolicy) -> BudgetState | None:
    """Return where a slice's keep rate stands; None where the policy gives the threshold."""
    if not policy.controlled:
        return None
    own = own_budget(where, policy)
    budget = policy.keep_budget if own is None else own
    rate = memory.rate(where.rate_keys[0].mine, scale_of(policy))
    return BudgetState(
        budget=budget,
        share=round(wanted_share(rate, budget, policy.audit_share), 6),
        debt=rate.debt,
        scores=0 if rate.threshold is None else rate.size,
    )


def budgets(where: FrameKeys, policy: ScreenPolicy) -> dict[str, float]:
    """Return the budgets a frame counts for, by keep rate: its slice's, and its tenant's unless the slice has its own.

    There are none where the policy gives the threshold.
    """
    if not policy.controlled:
        return {}
    own, keys = own_budget(where, policy), where.rate_keys[0]
    if own is not None:
        return {keys.mine: own}
    return {keys.mine: policy.keep_budget, keys.whole: policy.keep_budget}


def own_budget(where: FrameKeys, policy: ScreenPolicy) -> float | None:
    """Return the budget that a slice, or its condition, has of its own; None where it has its tenant's."""
    if policy.shared or not policy.slice_budgets:
        return None
    name = where.slice_key.removeprefix(f"{where.tenant}/")
    return policy.slice_budgets.get(name, policy.slice_budgets.get(where.condition))
