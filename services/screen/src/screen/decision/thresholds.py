"""What a frame's score is held against: its slice's threshold and budget, or who stands in for a young slice. Pure."""

from typing import NamedTuple

from roadloop_schemas.frames import BudgetState
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.frame_keys import FrameKeys, RateKeys
from screen.decision.score import scale_of
from screen.memory.keep_rate import share_to_keep
from screen.memory.state import Memory


class SliceThreshold(NamedTuple):
    """What a frame's score is held against: the threshold. `scale` names what makes the scores."""

    value: float
    scale: str


def find_threshold(memory: Memory, keys: FrameKeys, policy: ScreenPolicy) -> SliceThreshold:
    """Return the threshold of a slice: its own, while it is young its tenant's, and before that the policy's.

    Those are by version of the model; a new version's stand-ins come before the policy. Where the threshold is shared,
    it is the tenant's, held between the scores that the slice's range reaches.
    """
    scale = scale_of(policy)
    if not policy.controlled:
        return SliceThreshold(policy.threshold, scale)
    for rate_keys in keys.rate_keys:
        known = _threshold(memory, rate_keys, policy, scale)
        if known is not None:
            return SliceThreshold(known, scale)
    return SliceThreshold(policy.threshold, scale)


def _threshold(memory: Memory, keys: RateKeys, policy: ScreenPolicy, scale: str) -> float | None:
    of_slice, shared = memory.rate(keys.slice, scale), memory.rate(keys.tenant, scale).threshold
    if not policy.shared:
        return shared if of_slice.threshold is None else of_slice.threshold
    if shared is None or of_slice.reach is None:
        return shared
    return min(max(shared, of_slice.reach[0]), of_slice.reach[1])


def describe_budget(memory: Memory, keys: FrameKeys, policy: ScreenPolicy) -> BudgetState | None:
    """Return where a slice's keep rate stands; None where the policy gives the threshold."""
    if not policy.controlled:
        return None
    own = find_own_budget(keys, policy)
    budget = policy.keep_budget if own is None else own
    rate = memory.rate(keys.rate_keys[0].slice, scale_of(policy))
    return BudgetState(
        budget=budget,
        share=round(share_to_keep(rate, budget, policy.audit_share), 6),
        debt=rate.debt,
        scores=0 if rate.threshold is None else rate.size,
    )


def list_budgets(keys: FrameKeys, policy: ScreenPolicy) -> dict[str, float]:
    """Return the budgets a frame counts for, by keep rate: its slice's, and its tenant's unless the slice has its own.

    There are none where the policy gives the threshold.
    """
    if not policy.controlled:
        return {}
    own, rate_keys = find_own_budget(keys, policy), keys.rate_keys[0]
    if own is not None:
        return {rate_keys.slice: own}
    return {rate_keys.slice: policy.keep_budget, rate_keys.tenant: policy.keep_budget}


def find_own_budget(keys: FrameKeys, policy: ScreenPolicy) -> float | None:
    """Return the budget that a slice, or its condition, has of its own; None where it has its tenant's."""
    if policy.shared or not policy.slice_budgets:
        return None
    name = keys.slice_key.removeprefix(f"{keys.tenant}/")
    return policy.slice_budgets.get(name, policy.slice_budgets.get(keys.condition))
