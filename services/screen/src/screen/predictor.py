"""Fit the chance of an error to the frames of the audit, and say whether it orders frames better. Pure.

Logistic regression with an L2 penalty on standardised parts, by Newton's method (Hastie, Tibshirani and Friedman, The
Elements of Statistical Learning, 2nd edition, section 4.4.1).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from roadloop_schemas.fields import Condition
from roadloop_schemas.policies import ErrorPredictor

PENALTY = 1 / 0.3  # of half the squared weights, against the summed log-loss
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
    names = sorted({name for found in parts for name in found})
    means = {name: float(np.mean([found[name] for found in parts if name in found])) for name in names}
    _, *others = (condition for condition, _ in Counter(conditions).most_common())
    of_condition = np.array([[condition is other for other in others] for condition in conditions], float)
    of_parts = np.array([[found.get(name, means[name]) for name in names] for found in parts])
    table = np.column_stack([of_parts.reshape(len(parts), -1), of_condition.reshape(len(parts), -1)])
    spread = table.std(0)
    spread[spread < LEAST_DEVIATION] = np.inf  # a part that does not vary says nothing
    standard = (table - table.mean(0)) / spread
    theta = _newton(np.column_stack([np.ones(len(parts)), standard]), np.array(hard, float))
    weights = theta[1:] / spread
    return ErrorPredictor(
        intercept=round(float(theta[0] - weights @ table.mean(0)), 6),
        weights={name: round(float(weight), 6) for name, weight in zip(names, weights[: len(names)], strict=True)},
        means={name: round(mean, 6) for name, mean in means.items()},
        conditions={one: round(float(weight), 6) for one, weight in zip(others, weights[len(names) :], strict=True)},
        fitted_on=len(parts),
        hard=round(sum(hard)),
    )


def _newton(table: Numbers, hard: Numbers) -> Numbers:
    """Return the weights of the columns; the first one, the intercept, goes unpenalised."""
    penalty = np.diag([1e-9, *[PENALTY] * (table.shape[1] - 1)])
    theta = np.zeros(table.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(table @ theta, -30, 30)))
        slope = table.T @ (chance - hard) + penalty @ theta
        curvature = (table * (chance * (1 - chance))[:, None]).T @ table + penalty
        step = np.linalg.solve(curvature, slope)
        theta = theta - np.clip(step, -2, 2)
        if float(np.abs(step).max()) < 1e-8:
            break
    return theta


def ranking(scores: Numbers, hard: Numbers) -> float:
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
    ours, theirs, hardness = np.array(new), np.array(old), np.array(hard)
    dice = np.random.default_rng(seed)
    groups = [np.flatnonzero(hardness == degree) for degree in np.unique(hardness)]
    wins = 0
    for _ in range(RESAMPLES):
        drawn = np.concatenate([dice.choice(group, len(group)) for group in groups])
        wins += ranking(ours[drawn], hardness[drawn]) > ranking(theirs[drawn], hardness[drawn])
    return wins >= SURE * RESAMPLES
