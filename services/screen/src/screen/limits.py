"""What a frame's score is held against: its slice's threshold and budget, or who stands in for a young slice. Pure."""

from typing import NamedTuple

from roadloop_schemas.frames import BudgetState
from roadloop_schemas.policies import ScreenPolicy
from screen.keep_rate import wanted_share
from screen.memory import Memory
from screen.score import scale_of
from screen.where import Where, rate_key


class Limits(NamedTuple):
    """What a frame's score is held against: the threshold. `scale` names what makes the scores."""

    threshold: float
    scale: str


def limits_of(memory: Memory, where: Where, policy: ScreenPolicy) -> Limits:
    """Return the limits of a slice: its own, while it is young its tenant's, and before that the policy's.

    Those are by version of the model; a new version's stand-ins come before the policy. Where the threshold is shared,
    it is the tenant's, held between the scores that the slice's range reaches.
    """
    scale = scale_of(policy)
    if not policy.controlled:
        return Limits(policy.threshold, scale)
    for version in where.versions:
        known = _threshold(memory, where, policy, scale, version)
        if known is not None:
            return Limits(known, scale)
    return Limits(policy.threshold, scale)


def _threshold(memory: Memory, where: Where, policy: ScreenPolicy, scale: str, version: int) -> float | None:
    tenant = rate_key(whole(where.tenant), version)
    mine = rate_key(where.slice_key, version)
    if not policy.shared:
        return memory.threshold(mine, tenant, scale=scale)
    known, reach = memory.threshold(tenant, scale=scale), memory.rate(mine, scale).reach
    return known if known is None or reach is None else min(max(known, reach[0]), reach[1])


def budget_state(memory: Memory, where: Where, policy: ScreenPolicy) -> BudgetState | None:
    """Return where a slice's keep rate stands; None where the policy gives the threshold."""
    if not policy.controlled:
        return None
    budget = budgets(where.slice_key, where.tenant, policy)[where.slice_key]
    rate = memory.rate(rate_key(where.slice_key, where.versions[0]), scale_of(policy))
    return BudgetState(
        budget=budget,
        share=round(wanted_share(rate, budget, policy.audit_share), 6),
        debt=rate.debt,
        scores=0 if rate.threshold is None else rate.size,
    )


def whole(tenant: str) -> str:
    """Return the key of a tenant's keep rate over all slices."""
    return f"{tenant}/*"


def budgets(slice_key: str, tenant: str, policy: ScreenPolicy) -> dict[str, float]:
    """Return the budgets a frame counts for: its slice's, and its tenant's unless the slice has one of its own."""
    if policy.slice_budgets and not policy.shared:
        name = slice_key.removeprefix(f"{tenant}/")
        own = policy.slice_budgets.get(name, policy.slice_budgets.get(name.partition("/")[0]))
        if own is not None:
            return {slice_key: own}
    return {slice_key: policy.keep_budget, whole(tenant): policy.keep_budget}
