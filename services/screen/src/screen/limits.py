"""What a frame's score is held against: its slice's threshold and budget, or who stands in for a young slice. Pure."""

from dataclasses import dataclass

from roadloop_schemas.frames import BudgetState
from roadloop_schemas.policies import ScreenPolicy
from screen.keep_rate import NOTHING_KNOWN, on_scale, wanted_share
from screen.memory import Memory
from screen.score import scale_of


@dataclass(frozen=True, slots=True)
class Limits:
    """What a frame's score is held against: the threshold. `scale` names what makes the scores."""

    threshold: float
    scale: str


def limits_of(memory: Memory, slice_key: str, tenant: str, policy: ScreenPolicy) -> Limits:
    """Return the limits of a slice: its own, while it is young its tenant's, and before that the policy's.

    Where the threshold is shared, it is the tenant's, held between the scores that the slice's range reaches.
    """
    scale = scale_of(policy)
    if not policy.controlled:
        return Limits(policy.threshold, scale)
    keys = (whole(tenant),) if policy.shared else (slice_key, whole(tenant))
    known = memory.threshold(*keys, scale=scale)
    rate = on_scale(memory.rates.get(slice_key, NOTHING_KNOWN), scale)
    if policy.shared and known is not None and rate.reach is not None:
        known = min(max(known, rate.reach[0]), rate.reach[1])
    return Limits(policy.threshold if known is None else known, scale)


def budget_state(memory: Memory, slice_key: str, tenant: str, policy: ScreenPolicy) -> BudgetState | None:
    """Return where a slice's keep rate stands; None where the policy gives the threshold."""
    if not policy.controlled:
        return None
    budget = budgets(slice_key, tenant, policy)[slice_key]
    rate = on_scale(memory.rates.get(slice_key, NOTHING_KNOWN), scale_of(policy))
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
    name = slice_key.removeprefix(f"{tenant}/")
    own = policy.slice_budgets.get(name, policy.slice_budgets.get(name.partition("/")[0]))
    if own is not None and not policy.shared:
        return {slice_key: own}
    return {slice_key: policy.keep_budget, whole(tenant): policy.keep_budget}
