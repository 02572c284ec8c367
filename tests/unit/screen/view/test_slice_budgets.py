"""Budgets go where the scores are high, within their range, and the whole comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_schemas.frames import FrameScreened, VerdictReason
from roadloop_schemas.policies import ScreenPolicy
from screen.view.slice_budgets import BINS, ENOUGH, Scores, choose_budgets, scores_of
from tests.builders import make_verdict

POLICY = ScreenPolicy(version=1, threshold=0.5, controlled=True, audit_share=0, slice_range=(0.02, 0.6))


def scores(*places: tuple[float, int], dropped: int = 0) -> Scores:
    bins = [0] * BINS
    for value, count in places:
        bins[int(value * BINS)] += count
    return Scores(sum(bins) + dropped, tuple(bins))


@pytest.mark.parametrize(
    ("threshold", "share"),
    [
        pytest.param(0.0, 0.5, id="all-that-have-a-score"),
        pytest.param(0.25, 0.5, id="the-lower-edge-of-a-bin"),
        pytest.param(0.25 + 1 / (2 * BINS), 0.375, id="half-of-a-bin"),
        pytest.param(0.5, 0.25, id="the-upper-one"),
        pytest.param(1.0, 0.0, id="nothing"),
    ],
)
def test_the_share_that_reaches_a_threshold(threshold: float, share: float) -> None:
    assert scores((0.25, 100), (0.75, 100), dropped=200).share_reaching(threshold) == pytest.approx(share)


def test_budgets_follow_the_scores() -> None:
    found = {"clear/front": scores((0.1, 900), (0.8, 100)), "night/front": scores((0.7, 50), (0.9, 50), (0.2, 100))}
    budgets = choose_budgets(found, POLICY)
    assert budgets
    assert budgets["night/front"] > 2 * budgets["clear/front"]
    kept = sum(budgets[name] * slice_scores.seen for name, slice_scores in found.items())
    assert kept == pytest.approx(0.1 * 1_200, rel=0.01)


def test_no_slice_starves_nor_floods() -> None:
    found = {"clear/front": scores((0.1, 9_000)), "night/front": scores((0.9, 500))}
    assert choose_budgets(found, POLICY) == {"clear/front": pytest.approx(0.0722, abs=0.001), "night/front": 0.6}
    much = {"clear/front": scores((0.1, 9_000)), "night/front": scores((0.9, 9_000))}
    assert choose_budgets(much, POLICY) == {"clear/front": 0.02, "night/front": pytest.approx(0.18, abs=0.001)}


@pytest.mark.parametrize(
    ("found", "changes"),
    [
        pytest.param({}, {}, id="nothing-came"),
        pytest.param({"a/b": scores((0.1, ENOUGH - 1))}, {}, id="too-little-came"),
        pytest.param({"a/b": scores((0.1, 500)), "c/d": scores((0.9, 500))}, {"slice_range": None}, id="not-asked-for"),
        pytest.param({"a/b": scores((0.1, 500)), "c/d": scores((0.9, 500))}, {"controlled": False}, id="no-budgets"),
        pytest.param({"a/b": scores((0.1, 500)), "c/d": scores((0.9, 500))}, {"shared": True}, id="one-threshold"),
        pytest.param({"a/b": scores((0.1, 500), (0.9, 500))}, {}, id="a-single-slice-has-it-all"),
        pytest.param(
            {"a/b": scores((0.1, 500)), "c/d": scores((0.9, 500))},
            {"slice_budgets": {"a/b": 0.025, "c/d": 0.175}},
            id="hardly-anything-changes",
        ),
    ],
)
def test_nothing_moves(found: dict[str, Scores], changes: dict[str, object]) -> None:
    assert choose_budgets(found, POLICY.model_copy(update=changes)) is None


histograms = st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 500)), min_size=1, max_size=6)


@given(st.lists(histograms, min_size=1, max_size=5), st.floats(0.03, 0.5), st.floats(0, 0.03))
def test_the_whole_comes_out_whatever_the_scores(
    slices: list[list[tuple[float, int]]], budget: float, audit: float
) -> None:
    policy = POLICY.model_copy(update={"keep_budget": budget, "audit_share": audit, "slice_range": (0.0, 1.0)})
    found = {f"c{number}/front": scores(*places, (0.0, ENOUGH)) for number, places in enumerate(slices)}
    budgets = choose_budgets(found, policy)
    if budgets is not None:
        kept = sum(budgets[name] * slice_scores.seen for name, slice_scores in found.items())
        assert kept == pytest.approx(budget * sum(s.seen for s in found.values()), rel=0.01)


@pytest.mark.parametrize(
    ("told", "bin_number"),
    [
        pytest.param(make_verdict(score=0.5), 32, id="a-score"),
        pytest.param(make_verdict(score=1.0), 63, id="the-highest"),
        pytest.param(make_verdict(score=0.5, reasons=(VerdictReason.AUDIT,)), 32, id="kept-by-the-audit-alone"),
        pytest.param(make_verdict(score=0.5, reasons=(VerdictReason.AUDIT, VerdictReason.RULE)), None, id="by-a-rule"),
        pytest.param(make_verdict(score=0.5, reasons=(VerdictReason.BLURRED,)), None, id="dropped-before-the-score"),
        pytest.param(make_verdict(score=None, reasons=(VerdictReason.OBJECT_MISSING,)), None, id="not-judged"),
    ],
)
def test_what_a_verdict_adds(told: FrameScreened, bin_number: int | None) -> None:
    found = scores_of(told)
    assert found.seen == 1
    assert [number for number, count in enumerate(found.bins) if count] == ([] if bin_number is None else [bin_number])
    assert (found + found).seen == 2
