"""One seed's day: every arm's choice and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from learning import arms
from learning.answers import Answers, answer
from learning.configuration import Meaning, Streams
from learning.figures import compute_figures, recall
from learning.look import Predictions
from learning.product import Screened, make_day, screen
from learning.stream import moments
from roadloop_schemas.policies import ScreenPolicy
from screen.learn.labelled_audit import LabelledFrame

CURVE_SEEDS = (1, 2, 3)
BUDGETS = (0.02, 0.05, 0.1, 0.2)
SINGLE_PARTS = tuple(arms.PARTS)
OURS, ALONE, CLONE, FIRST_DAY = "ours", "ours without the second model", "ours, second model a clone", "ours, first day"
SHUFFLED = "shuffled truth: "
Choices = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class DayFigures:
    """A seed's figures by arm, its recall by arm and budget, and which frames ours kept."""

    seed: int
    arms: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    kept: Sequence[int] = ()
    refits: int = 0


def measure_day(
    seed: int,
    predictions: Predictions,
    streams: Streams,
    meaning: Meaning,
    policy: ScreenPolicy,
    before: Mapping[str, Sequence[LabelledFrame]],
) -> DayFigures:
    """Screen one day by every arm. `before` are the labelled frames of the days before, by what the second model is."""
    stream = moments(seed, streams)
    truth = answer(stream, predictions, meaning)
    shuffled = truth.shuffle(seed)
    days = {
        second: make_day(seed, stream, predictions, second=second, unit=streams.unit)
        for second in ("other", "clone", "none")
    }
    ours = screen(days["other"], policy, before=before["other"])
    first_day = screen(days["other"], policy)
    known = arms.know(days["other"], policy)
    scores = _score_frames(seed, first_day, truth)
    fixed = {name: arms.keep_by_best_threshold(known, each, policy, seed=seed) for name, each in scores.items()}
    product = {
        OURS: ours.kept,
        ALONE: screen(days["none"], policy, before=before["none"]).kept,
        CLONE: screen(days["clone"], policy, before=before["clone"]).kept,
        FIRST_DAY: first_day.kept,
    }
    gap = meaning.event_gap
    figures_by_arm = {name: compute_figures(kept, truth, gap) for name, kept in {**fixed, **product}.items()}
    unlearned = {
        **fixed,
        OURS: screen(days["other"], policy, before=before["other"], donors=shuffled.donors).kept,
    }
    figures_by_arm |= {
        SHUFFLED + name: compute_figures(kept, shuffled, gap) for name, kept in unlearned.items() if name != "ceiling"
    }
    curves = {}
    if seed in CURVE_SEEDS:
        curves = {name: _measure_curve(known, each, policy, truth, seed) for name, each in scores.items()}
        curves[OURS] = {
            budget: recall(
                screen(days["other"], _replace_budget(policy, budget), before=before["other"]).kept, truth.hard, truth
            )
            for budget in BUDGETS
        }
    return DayFigures(seed, figures_by_arm, curves, np.flatnonzero(ours.kept).tolist(), ours.policy.version)


def _score_frames(seed: int, screened: Screened, truth: Answers) -> dict[str, arms.Scores]:
    frames = len(screened.parts)
    parts = {
        name: np.array([frame_parts.get(part, 0.0) for frame_parts in screened.parts])
        for name, part in arms.PARTS.items()
    }
    return {
        "random": arms.draw_scores(seed, frames),
        "every k-th": arms.spread_scores(frames),
        **parts,
        "ceiling": truth.totals.astype(float),
    }


def _replace_budget(policy: ScreenPolicy, budget: float) -> ScreenPolicy:
    return policy.model_copy(update={"keep_budget": budget})


def _measure_curve(
    known: Sequence[arms.Known], scores: arms.Scores, policy: ScreenPolicy, truth: Answers, seed: int
) -> dict[float, float]:
    return {
        budget: recall(
            arms.keep_by_best_threshold(known, scores, _replace_budget(policy, budget), seed=seed), truth.hard, truth
        )
        for budget in BUDGETS
    }
