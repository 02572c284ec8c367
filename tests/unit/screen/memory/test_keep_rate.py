"""The controller keeps the budget, over a day and after a step, and remembers exactly what it knew."""

import math
from collections.abc import Sequence
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screen.memory.keep_rate import ENOUGH, RING, SEGMENT, KeepRate, add_frame, quantile, rank, share_to_keep

BUDGET, AUDIT = 0.1, 0.01
DAY = 20_000


def scores_of(seed: int, steps: Sequence[tuple[int, float]] = ()) -> list[float]:
    """Draw a day of scores, alike from frame to frame (lag-1 correlation 0.8), with steps at some frames."""
    noise = np.random.default_rng(seed).normal(size=DAY)
    level, found = noise[0], []
    jumps = dict(steps)
    shift = 0.0
    for number in range(DAY):
        level = 0.8 * level + 0.6 * noise[number]
        shift += jumps.get(number, 0.0)
        found.append(round(1 / (1 + math.exp(1 - level - shift)), 6))
    return found


def run(scores: Sequence[float], *, seed: int = 0, eligible: float = 1.0, start: float = 0.5) -> list[bool]:
    """Return which frames of a day are kept; of `eligible` share the score decides, the others are never kept."""
    dice = np.random.default_rng(seed)
    lots, audits = dice.random(len(scores)) < eligible, dice.random(len(scores)) < AUDIT
    state, kept = KeepRate(), list[bool]()
    for score, is_eligible, is_audit in zip(scores, lots, audits, strict=True):
        threshold = start if state.threshold is None else state.threshold
        kept.append(bool(is_audit or (is_eligible and score >= threshold)))
        state = add_frame(state, score if is_eligible else None, kept[-1], budget=BUDGET, audit_share=AUDIT)
    return kept


@pytest.mark.parametrize("eligible", [1.0, 0.5])
def test_a_day_keeps_its_budget(eligible: float) -> None:
    for seed in range(4):
        assert mean(run(scores_of(seed), seed=seed, eligible=eligible)) == pytest.approx(BUDGET, abs=0.003)


def test_after_a_step_the_rate_comes_back_and_the_day_keeps_its_budget() -> None:
    """Of 20 seeds: frames 2,000 to 5,000 after a step up and after a step down, and the whole day."""
    days = [run(scores_of(seed, [(6_000, 1.5), (11_000, -1.5)]), seed=seed) for seed in range(20)]
    assert mean(mean(day[8_000:11_000]) for day in days) == pytest.approx(BUDGET, abs=0.01)
    assert mean(mean(day[13_000:16_000]) for day in days) == pytest.approx(BUDGET, abs=0.01)
    assert mean(mean(day) for day in days) == pytest.approx(BUDGET, abs=0.003)


def test_a_fixed_threshold_does_not() -> None:
    """What the controller is for: the same day with the threshold that was right at first."""
    scores = scores_of(1, [(6_000, 1.5), (11_000, -1.5)])
    fixed = quantile(scores[:6_000], BUDGET)
    assert mean(score >= fixed for score in scores) > BUDGET + 0.05


def test_equal_scores_are_told_apart_by_their_lots() -> None:
    same = [rank(0.25, f"frame-{number}") for number in range(DAY)]
    assert mean(run(same)) == pytest.approx(BUDGET, abs=0.003)


def test_a_slice_without_room_beside_the_audit_keeps_the_audit_alone() -> None:
    state = KeepRate()
    for score in scores_of(3)[:1_000]:
        state = add_frame(state, score, False, budget=0.005, audit_share=AUDIT)
    assert state.threshold == 1.0


def test_the_ring_holds_the_last_thousand_and_the_first_threshold_waits_for_enough() -> None:
    state = KeepRate()
    for number in range(3 * RING + 7):
        state = add_frame(state, number / 10_000, None, budget=BUDGET, audit_share=AUDIT)
        assert (state.threshold is None) == (number + 1 < ENOUGH)
        assert len(state.newest.scores) < SEGMENT
    assert state.scores.tolist() == [number / 10_000 for number in range(2 * RING + 7, 3 * RING + 7)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1))
def test_the_quantile_is_exact(scores: list[float], share: float) -> None:
    found = quantile(scores, share)
    keep = round(share * len(scores))
    assert found == (sorted(scores, reverse=True)[keep - 1] if keep else 1.0)


@given(st.floats(0, 1), st.floats(0, 0.2), st.floats(-200, 200), st.integers(0, 900), st.integers(0, 900))
def test_the_wanted_share_is_a_share(budget: float, audit: float, debt: float, scored: int, dropped: int) -> None:
    state = KeepRate(debt=debt)
    for number in range(scored + dropped):
        state = add_frame(state, 0.5 if number < scored else None, False, budget=budget, audit_share=audit)
    assert 0 <= share_to_keep(state, budget, audit) <= 1


@given(st.text(min_size=1, max_size=20), st.integers(0, 10**6 - 1))
def test_a_lot_never_overtakes_a_higher_score(frame_id: str, millionths: int) -> None:
    lower, higher = millionths / 10**6, (millionths + 1) / 10**6
    assert 0 <= rank(lower, frame_id) < rank(higher, frame_id + "x") <= 1
