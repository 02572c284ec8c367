"""One seed's day: every arm's choice and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from learning import arms
from learning.answers import Answers, answer
from learning.configuration import Meaning, Streams
from learning.figures import figures, recall
from learning.look import Predictions
from learning.product import Screened, day, screen
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
class Found:
    """A seed's figures by arm, its recall by arm and budget, and which frames ours kept."""

    seed: int
    arms: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    kept: Sequence[int] = ()
    refits: int = 0


def measure_day(
    seed: int,
    looks: Predictions,
    streams: Streams,
    meaning: Meaning,
    policy: ScreenPolicy,
    before: Mapping[str, Sequence[LabelledFrame]],
) -> Found:
    """Screen one day by every arm. `before` are the lessons of the days before, by what the second model is."""
    stream = moments(seed, streams)
    truth = answer(stream, looks, meaning)
    dealt = truth.shuffled(seed)
    days = {second: day(seed, stream, looks, second=second, unit=streams.unit) for second in ("other", "clone", "none")}
    ours = screen(days["other"], policy, before=before["other"])
    first = screen(days["other"], policy)
    known = arms.know(days["other"], policy)
    scores = _scores(seed, first, truth)
    fixed = {name: arms.best_fixed_threshold(known, each, policy, seed=seed) for name, each in scores.items()}
    product = {
        OURS: ours.kept,
        ALONE: screen(days["none"], policy, before=before["none"]).kept,
        CLONE: screen(days["clone"], policy, before=before["clone"]).kept,
        FIRST_DAY: first.kept,
    }
    gap = meaning.event_gap
    judged = {name: figures(kept, truth, gap) for name, kept in {**fixed, **product}.items()}
    unlearned = {**fixed, OURS: screen(days["other"], policy, before=before["other"], donors=dealt.donors).kept}
    judged |= {SHUFFLED + name: figures(kept, dealt, gap) for name, kept in unlearned.items() if name != "ceiling"}
    curves = {}
    if seed in CURVE_SEEDS:
        curves = {name: _curve(known, each, policy, truth, seed) for name, each in scores.items()}
        curves[OURS] = {
            budget: recall(screen(days["other"], _at(policy, budget), before=before["other"]).kept, truth.hard, truth)
            for budget in BUDGETS
        }
    return Found(seed, judged, curves, np.flatnonzero(ours.kept).tolist(), ours.policy.version)


def _scores(seed: int, screened: Screened, truth: Answers) -> dict[str, arms.Scores]:
    frames = len(screened.parts)
    parts = {name: np.array([found.get(part, 0.0) for found in screened.parts]) for name, part in arms.PARTS.items()}
    return {
        "random": arms.scores_at_random(seed, frames),
        "every k-th": arms.scores_by_turn(frames),
        **parts,
        "ceiling": truth.totals.astype(float),
    }


def _at(policy: ScreenPolicy, budget: float) -> ScreenPolicy:
    return policy.model_copy(update={"keep_budget": budget})


def _curve(
    known: Sequence[arms.Known], scores: arms.Scores, policy: ScreenPolicy, truth: Answers, seed: int
) -> dict[float, float]:
    return {
        budget: recall(arms.best_fixed_threshold(known, scores, _at(policy, budget), seed=seed), truth.hard, truth)
        for budget in BUDGETS
    }
