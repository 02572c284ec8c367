"""Fit the chance of an error to the frames of the audit, and say whether it orders frames better. Pure.

Logistic regression on standardised parts, by Newton's method, with an L2 penalty that draws the weights not to 0 but to
what is expected of them, as a normal prior does (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning,
2nd edition, sections 4.4.1 and 8.3): a few hundred frames of the audit cannot tell ten weights from each other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from roadloop_schemas.fields import Condition
from roadloop_schemas.policies import ErrorPredictor

PENALTY, PENALTY_OF_CONDITIONS = 30.0, 10.0  # of half the squared weights, against the summed log-loss
# log-odds that a whole part is worth, as on drawn days
EXPECTED: Mapping[str, float] = MappingProxyType({"uncertainty": 5.0, "overlap": 1.5, "unusual": 1.0})
STEPS = 50
LEAST_DEVIATION = 1e-6
RESAMPLES = 400
SURE = 0.9
Parts = Mapping[str, float]
Numbers = NDArray[np.float64]


def fit(parts: Sequence[Parts], conditions: Sequence[Condition], hard: Sequence[float]) -> ErrorPredictor:
    """Return the predictor of frames that are each 0..1 hard, by their parts and the condition they were taken in.

    A part that a frame has not counts as its mean over those that have it. The most frequent condition is what the
    others are told from.
    """
    names = sorted({name for frame in parts for name in frame})
    means = {name: float(np.mean([frame[name] for frame in parts if name in frame])) for name in names}
    _, *others = (condition for condition, _ in Counter(conditions).most_common())
    of_condition = np.array([[condition is other for other in others] for condition in conditions], float)
    of_parts = np.array([[frame.get(name, means[name]) for name in names] for frame in parts])
    table = np.column_stack([of_parts.reshape(len(parts), -1), of_condition.reshape(len(parts), -1)])
    deviation = table.std(0)
    varies = deviation >= LEAST_DEVIATION  # a part that does not vary says nothing
    spread = np.where(varies, deviation, np.inf)
    standard = (table - table.mean(0)) / spread
    expected = np.array([EXPECTED.get(name, 0.0) for name in names] + [0.0] * len(others))
    drawn_to = expected * np.where(varies, deviation, 0.0)
    penalty = [PENALTY] * len(names) + [PENALTY_OF_CONDITIONS] * len(others)
    theta = _fit_by_newton(np.column_stack([np.ones(len(parts)), standard]), np.array(hard, float), penalty, drawn_to)
    weights = theta[1:] / spread
    return ErrorPredictor(
        intercept=round(float(theta[0] - weights @ table.mean(0)), 6),
        weights={name: round(float(weight), 6) for name, weight in zip(names, weights[: len(names)], strict=True)},
        means={name: round(mean, 6) for name, mean in means.items()},
        conditions={
            other: round(float(weight), 6) for other, weight in zip(others, weights[len(names) :], strict=True)
        },
        fitted_on=len(parts),
        hard=round(sum(hard)),
    )


def _fit_by_newton(table: Numbers, hard: Numbers, penalty: Sequence[float], drawn_to: Numbers) -> Numbers:
    """Return the weights of the columns, each drawn to where its penalty begins; the first, the intercept, is free."""
    penalties, ends = np.diag([1e-9, *penalty]), np.array([0.0, *drawn_to])
    theta = np.zeros(table.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(table @ theta, -30, 30)))
        slope = table.T @ (chance - hard) + penalties @ (theta - ends)
        curvature = (table * (chance * (1 - chance))[:, None]).T @ table + penalties
        step = np.linalg.solve(curvature, slope)
        theta = theta - np.clip(step, -2, 2)
        if float(np.abs(step).max()) < 1e-8:
            break
    return theta


def measure_ranking(scores: Numbers, hard: Numbers) -> float:
    """Return the chance that of two frames the harder one has the higher score, 0..1.

    That is Harrell's concordance; where frames are hard or not, the area under the ROC curve.
    """
    harder = hard[:, None] > hard[None]
    above = np.sign(scores[:, None] - scores[None])[harder]
    return float(np.mean(above) / 2 + 0.5)


def is_better(new: Sequence[float], old: Sequence[float], hard: Sequence[float], seed: int = 0) -> bool:
    """Say whether the new scores rank frames better than the old ones: surely so, and not by these frames' chance.

    Surely is in nine of ten resamples of the frames, each degree of hardness apart (paired bootstrap).
    """
    new_scores, old_scores, hardness = np.array(new), np.array(old), np.array(hard)
    dice = np.random.default_rng(seed)
    groups = [np.flatnonzero(hardness == degree) for degree in np.unique(hardness)]
    wins = 0
    for _ in range(RESAMPLES):
        resample = np.concatenate([dice.choice(group, len(group)) for group in groups])
        wins += measure_ranking(new_scores[resample], hardness[resample]) > measure_ranking(
            old_scores[resample], hardness[resample]
        )
    return wins >= SURE * RESAMPLES
