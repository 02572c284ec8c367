"""A frame's verdict from its facts alone: what it leaves in memory, and what a change of the score does to the rate."""

from random import Random
from statistics import mean

import pytest

from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import Verdict
from roadloop_schemas.policies import ErrorPredictor, ScreenPolicy
from screen.decision import score
from screen.decision.facts import Facts
from screen.decision.frame_keys import FrameKeys
from screen.decision.screen_frame import judge
from screen.decision.thresholds import describe_budget
from screen.learn.predictor_acceptance import choose_start_threshold
from screen.memory.state import Memory

POLICY = ScreenPolicy(version=1, threshold=0.5, controlled=True)
LEARNED = ErrorPredictor(intercept=-4, weights={"disagreement": 5.0, "low_top_score": 0.3})
BOTH = POLICY.model_copy(update={"version": 2, "predictor": LEARNED})


def facts(number: int, dice: Random) -> Facts:
    parts = {"disagreement": round(dice.betavariate(2, 4), 6), "low_top_score": round(dice.random(), 6)}
    keys = FrameKeys("acme", "car-1", "front", dice.choice((Condition.CLEAR, Condition.NIGHT)))
    return Facts(f"f-{number}", keys, dice.random(), 0.5, 100, parts)


def rates(seed: int, later: ScreenPolicy) -> list[float]:
    """Return the kept shares of ten stretches of 500 frames; the score changes before the fourth of them."""
    dice, memory, kept = Random(seed), Memory(), list[bool]()
    for number in range(7_500):
        memory, decision, _ = judge(memory, facts(number, dice), POLICY if number < 4_000 else later)
        kept.append(decision.verdict is Verdict.KEPT)
    return [mean(kept[start : start + 500]) for start in range(2_500, 7_500, 500)]


def test_the_keep_rate_makes_no_step_where_a_learned_score_takes_over() -> None:
    dice = Random(99)
    sample = [score.chance(facts(number, dice).parts, Condition.CLEAR, LEARNED) for number in range(300)]
    later = BOTH.model_copy(update={"threshold": choose_start_threshold(sample, POLICY)})
    over_seeds = [mean(stretch) for stretch in zip(*(rates(seed, later) for seed in range(5)), strict=True)]
    assert all(rate == pytest.approx(0.1, abs=0.03) for rate in over_seeds), over_seeds


def test_scores_of_another_scale_do_not_set_the_threshold() -> None:
    dice, memory = Random(1), Memory()
    for number in range(600):
        memory, *_ = judge(memory, facts(number, dice), POLICY)
    _, _, threshold = judge(memory, facts(600, dice), BOTH)
    assert threshold.value == BOTH.threshold
    state = describe_budget(memory, facts(600, dice).keys, BOTH)
    assert state
    assert state.scores == 0
    newer = POLICY.model_copy(update={"version": 9, "slice_budgets": {"night/front": 0.2}})
    _, _, threshold = judge(memory, facts(600, dice), newer)
    assert threshold.value != POLICY.threshold, "a change of budgets is none of scale"


SHARED = POLICY.model_copy(update={"shared": True, "slice_range": (0.03, 0.4), "audit_share": 0.01})


def kept_shares(policy: ScreenPolicy, clear: tuple[float, float], night: tuple[float, float]) -> dict[Condition, float]:
    """Return what is kept of each slice once all have thresholds; scores are drawn by these betas, a tenth at night."""
    dice, memory, kept = Random(3), Memory(), dict[Condition, list[bool]]()
    for number in range(12_000):
        condition = Condition.NIGHT if dice.random() < 0.1 else Condition.CLEAR
        value = dice.betavariate(*(night if condition is Condition.NIGHT else clear))
        keys = FrameKeys("acme", "car-1", "front", condition)
        one = Facts(f"f-{number}", keys, dice.random(), 0.5, 100, {"crowd": round(value, 6)})
        memory, decision, _ = judge(memory, one, policy)
        if number >= 5_000:
            kept.setdefault(condition, []).append(decision.verdict is Verdict.KEPT)
    return {condition: mean(found) for condition, found in kept.items()}


@pytest.mark.parametrize(
    ("policy", "clear", "night", "shares"),
    [
        pytest.param(POLICY, (2, 6), (4, 4), (0.1, 0.1), id="each-slice-its-own"),
        pytest.param(SHARED, (2, 6), (3, 5), (0.081, 0.27), id="one-threshold-for-all"),
        pytest.param(SHARED, (2, 6), (9, 2), (0.066, 0.4), id="no-slice-floods"),
        pytest.param(SHARED, (6, 2), (1, 9), (0.108, 0.03), id="nor-starves"),
    ],
)
def test_where_the_budget_goes(
    policy: ScreenPolicy, clear: tuple[float, float], night: tuple[float, float], shares: tuple[float, float]
) -> None:
    found = kept_shares(policy, clear, night)
    assert found[Condition.CLEAR] == pytest.approx(shares[0], abs=0.015)
    assert found[Condition.NIGHT] == pytest.approx(shares[1], abs=0.04)
    assert 0.9 * found[Condition.CLEAR] + 0.1 * found[Condition.NIGHT] == pytest.approx(0.1, abs=0.01)
