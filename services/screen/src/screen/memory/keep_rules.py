"""Named rules: frames that are kept whatever their score, each rule within an allowance of its own. Pure.

An allowance grows by the rule's quota with every frame of its tenant, up to some frames that may come in a row; each
frame that the rule keeps takes one from it. So no rule can take the budget, however common its kind becomes.
"""

from collections.abc import Iterable, Mapping, Sequence

from roadloop_schemas.frames import IngestedFrame
from roadloop_schemas.policies import KeepRule
from screen.vision.detections import Box

IN_A_ROW = 20.0


def matches(rule: KeepRule, frame: IngestedFrame, boxes: Iterable[Box]) -> bool:
    """Say whether a frame is of a rule's kind; `boxes` are those of all models."""
    if rule.condition not in (None, frame.condition) or (rule.signal is not None and rule.signal not in frame.signals):
        return False
    if rule.class_name is None:
        return True
    return any(box.class_name == rule.class_name and box.score >= rule.min_score for box in boxes)


def select_matching(rules: Sequence[KeepRule], frame: IngestedFrame, boxes: Sequence[Box]) -> tuple[str, ...]:
    """Return the names of the rules whose kind a frame is of."""
    return tuple(rule.name for rule in rules if matches(rule, frame, boxes))


def select_allowed(names: Iterable[str], allowances: Mapping[str, float]) -> tuple[str, ...]:
    """Return those rules of a frame that still may keep one."""
    return tuple(name for name in names if allowances.get(name, 0.0) >= 1)


def add_frame(rules: Sequence[KeepRule], kept_by: Sequence[str], allowances: Mapping[str, float]) -> dict[str, float]:
    """Return the allowances after one more frame; a rule that is new begins with one frame."""
    return {
        rule.name: round(min(IN_A_ROW, allowances.get(rule.name, 1.0) + rule.quota) - (rule.name in kept_by), 6)
        for rule in rules
    }
