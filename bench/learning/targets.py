"""What the product promises, beside what was measured, and where it was not kept, why that is hard. Pure."""

from collections.abc import Mapping
from typing import Any

from learning.figures import Interval

# What was seen on the tuning seeds; README.md has the numbers.
WHY = {
    "duplicates": "Where a network is blind, its embeddings of two moments differ by little more than noise; light "
    "tells them apart, but the audit keeps copies too, as it must.",
    "events": "Six in ten events are in clear drives, most of them one frame alone, and the parts of the score say "
    "little there: fitted with hindsight to 40,000 labelled frames they find 68 % of them in 6 % of the frames.",
    "keep": "A slice of fewer than 200 scores follows its tenant's threshold, whatever that keeps of it.",
    "silent": "What neither model sees shows in the picture as a whole alone.",
    "slice": "Against the sun both models are blind: only the condition tells that a frame is hard.",
    "useless": "A picture blurred at night or against the sun is nearly as sharp as the others, by noise and glow; "
    "and the audit keeps useless frames too, as it must.",
}


def list_targets(
    ratio: Interval, silent: Interval, ours: Mapping[str, Interval], margin: Interval, shuffled: Interval
) -> list[dict[str, Any]]:
    """Return each target with what was measured and, if it was missed, why.

    A ratio or a share counts by its mean, the `margin` to the best part by its lower bound, `shuffled` by its interval.
    """
    return [
        _at_least("hard-recall at 10 % / random", ratio.mean, 3.0),
        _at_least("recall of silent misses / random", silent.mean, 3.0, "silent"),
        _at_least("event recall", ours["event_recall"].mean, 0.75, "events"),
        _at_least("event recall minus the best single part's, lower 95 % bound", margin.low, -0.01, "events"),
        _at_least("worst slice / mean", ours["worst_slice"].mean, 0.6, "slice"),
        _at_most("duplicates among kept", ours["duplicates"].mean, 0.02, "duplicates"),
        _at_most("useless among kept", ours["useless"].mean, 0.005, "useless"),
        _at_most("keep rate, distance from 0.1", abs(ours["keep_rate"].mean - 0.1), 0.003, "keep"),
        _at_most(
            "shuffled truth: how far 1 lies outside the interval of ours / random", _measure_outside(shuffled, 1.0), 0.0
        ),
    ]


def _at_least(figure: str, measured: float, limit: float, why: str = "") -> dict[str, Any]:
    return _make_target(figure, measured, f">= {limit}", measured >= limit, why)


def _at_most(figure: str, measured: float, limit: float, why: str = "") -> dict[str, Any]:
    return _make_target(figure, measured, f"<= {limit}", measured <= limit, why)


def _make_target(figure: str, measured: float, target: str, met: bool, why: str) -> dict[str, Any]:
    return {
        "figure": figure,
        "measured": round(measured, 4),
        "target": target,
        "met": bool(met),
        "why": "" if met else WHY.get(why, ""),
    }


def _measure_outside(interval: Interval, value: float) -> float:
    """Return how far a value lies outside an interval; 0 inside."""
    return max(0.0, interval.low - value, value - interval.high)
