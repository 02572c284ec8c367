"""Decide whether a candidate may replace what serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from trainer_trigger.tables.spec import GatePolicy

EXACT = 1e-9  # a gain that is the wanted one but for rounding is enough


class Refusal(StrEnum):
    """Why a candidate may not go live."""

    GAIN_TOO_SMALL = "gain_too_small"
    CONDITION_LOST = "condition_lost"
    NOT_SURE_ENOUGH = "not_sure_enough"
    OTHER_CONDITIONS = "other_conditions"


@dataclass(frozen=True, slots=True)
class Report:
    """Mean average precision at overlap 0.5 of one model, in 0..1, per condition of the validation set."""

    conditions: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Each condition weighs the same, however many frames it has."""
        return sum(self.conditions.values()) / len(self.conditions)


@dataclass(frozen=True, slots=True)
class Pass:
    """It may go live."""

    gain: float

    def __str__(self) -> str:
        return f"passed: mean mAP50 {self.gain:+.4f}"


@dataclass(frozen=True, slots=True)
class Refuse:
    """It may not: every reason with its figures."""

    reasons: tuple[tuple[Refusal, str], ...]

    def __str__(self) -> str:
        return "; ".join(f"{reason}: {detail}" for reason, detail in self.reasons)


def gate(serving: Report, candidate: Report, policy: GatePolicy, *, confidence: float = 1.0) -> Pass | Refuse:
    """Let a candidate through whose mean grew enough, while no condition lost too much.

    `confidence` is the share of resampled validation sets on which the mean grew (`paired_bootstrap.py`). All
    reasons are given, not only the first.
    """
    if serving.conditions.keys() != candidate.conditions.keys():
        detail = f"{sorted(candidate.conditions)} measured, {sorted(serving.conditions)} wanted"
        return Refuse(((Refusal.OTHER_CONDITIONS, detail),))
    reasons: list[tuple[Refusal, str]] = []
    gain = candidate.mean - serving.mean
    if gain < policy.min_gain - EXACT:
        reasons.append((Refusal.GAIN_TOO_SMALL, f"mean mAP50 {gain:+.4f}, at least {policy.min_gain:+.4f} is wanted"))
    for condition, before in sorted(serving.conditions.items()):
        loss = before - candidate.conditions[condition]
        if loss > policy.max_condition_loss + EXACT:
            allowed = f"at most {policy.max_condition_loss:.4f} may be lost"
            reasons.append((Refusal.CONDITION_LOST, f"{condition} mAP50 {-loss:+.4f}, {allowed}"))
    if confidence < policy.min_confidence:
        wanted = f"{policy.min_confidence:.3f} is wanted"
        reasons.append((Refusal.NOT_SURE_ENOUGH, f"better on {confidence:.3f} of resampled sets, {wanted}"))
    return Refuse(tuple(reasons)) if reasons else Pass(gain)
