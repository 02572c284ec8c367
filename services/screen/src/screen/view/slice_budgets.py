"""Where the budget goes: slices with high scores get more of it, within limits, and the whole comes out. Pure.

One threshold for all slices would spend the budget where mistakes are, but a score that is a little off starves a slice
or floods another one. So the shares that one threshold would keep become budgets, held within a range; each slice then
holds its own with a threshold of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from roadloop_schemas.frames import FrameScreened, VerdictReason
from roadloop_schemas.policies import ScreenPolicy

HOURS = 24  # of scores that budgets follow from
BINS = 64
ENOUGH = 200
MOVES_AT_LEAST = 0.01
STEPS = 40
UNSCORED = (
    VerdictReason.RULE,
    VerdictReason.BLURRED,
    VerdictReason.BADLY_EXPOSED,
    VerdictReason.NEAR_DUPLICATE,
    VerdictReason.NO_TARGET,
)


@dataclass(frozen=True, slots=True)
class Scores:
    """How many frames of a slice came, and how many of those that the score decides on fell into each 64th of 0..1."""

    seen: int = 0
    bins: tuple[int, ...] = (0,) * BINS

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(self.seen + other.seen, tuple(a + b for a, b in zip(self.bins, other.bins, strict=True)))

    def share_reaching(self, threshold: float) -> float:
        """Return the share of all frames whose score reaches a threshold; within a bin they are taken to lie evenly."""
        place = min(BINS - 1, int(threshold * BINS))
        within = self.bins[place] * (1 - (threshold * BINS - place))
        return (sum(self.bins[place + 1 :]) + max(0.0, within)) / self.seen if self.seen else 0.0


def scores_of(verdict: FrameScreened) -> Scores:
    """Return what one verdict adds. What the audit alone kept counts as scored: whatever else it was is not told."""
    if verdict.score is None or any(reason in UNSCORED for reason in verdict.reasons):
        return Scores(1)
    bins = [0] * BINS
    bins[min(BINS - 1, int(verdict.score * BINS))] = 1
    return Scores(1, tuple(bins))


def may_move(policy: ScreenPolicy | None) -> bool:
    """Say whether a policy lets its slices' budgets be moved."""
    return policy is not None and policy.controlled and not policy.shared and policy.slice_range is not None


def choose_budgets(scores_by_slice: Mapping[str, Scores], policy: ScreenPolicy) -> dict[str, float] | None:
    """Return the slices' new budgets; None where nobody asks for it, too little came, or hardly anything changes.

    `scores_by_slice` is by condition/camera, over all partitions. A slice of fewer than 200 frames has the keep budget.
    """
    known = {name: scores for name, scores in scores_by_slice.items() if scores.seen >= ENOUGH}
    if not may_move(policy) or not known:
        return None
    budgets = _compute_budgets(known, policy, _find_threshold(list(known.values()), policy))
    old_budgets = {name: policy.slice_budgets.get(name, policy.keep_budget) for name in budgets}
    if all(abs(budgets[name] - old_budgets[name]) < MOVES_AT_LEAST for name in budgets):
        return None
    return budgets


def _find_threshold(known: Sequence[Scores], policy: ScreenPolicy) -> float:
    """Return the one threshold at which slices within their range keep the keep budget of all frames; by bisection."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        kept = sum(_compute_budget(scores, policy, middle) * scores.seen for scores in known)
        low, high = (middle, high) if kept > policy.keep_budget * sum(s.seen for s in known) else (low, middle)
    return high


def _compute_budgets(known: Mapping[str, Scores], policy: ScreenPolicy, threshold: float) -> dict[str, float]:
    return {name: round(_compute_budget(scores, policy, threshold), 4) for name, scores in sorted(known.items())}


def _compute_budget(scores: Scores, policy: ScreenPolicy, threshold: float) -> float:
    """Return the share of a slice's frames that a threshold and the audit keep, within the policy's range."""
    least, most = policy.slice_range or (0.0, 1.0)
    kept = policy.audit_share + (1 - policy.audit_share) * scores.share_reaching(threshold)
    return min(most, max(least, kept))
