"""How well was chosen, in figures; and what they come to over the seeds. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from learning.answers import Answers, find_events

ENOUGH_SCENES = 20  # of hard ones, for a slice to be judged
Flags = NDArray[np.bool_]


class Interval(NamedTuple):
    """A mean over the seeds with its two-sided 95 % interval."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> Interval:
    """Return mean and interval, by Student's t."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, mean, mean)
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def recall(kept: Flags, relevant: Flags, answers: Answers) -> float:
    """Return the share of the relevant scenes of which a relevant frame was kept; 0 where none is."""
    scenes = np.unique(answers.scenes[relevant & ~answers.useless])
    found_scenes = np.unique(answers.scenes[kept & relevant & ~answers.useless])
    return len(found_scenes) / len(scenes) if len(scenes) else 0.0


def recall_by_slice(kept: Flags, answers: Answers) -> dict[str, float]:
    """Return the hard-recall of each condition with enough hard scenes."""
    recalls = {}
    for name in np.unique(answers.slices):
        hard_here = answers.hard & (answers.slices == name)
        if len(np.unique(answers.scenes[hard_here])) >= ENOUGH_SCENES:
            recalls[str(name)] = recall(kept, hard_here, answers)
    return recalls


def event_recall(kept: Flags, answers: Answers, gap: int) -> float:
    """Return the share of the events of which a frame was kept; 0 where there is none."""
    hit = [bool(kept[event].any()) for event in find_events(answers, gap)]
    return float(np.mean(hit)) if hit else 0.0


def duplicates(kept: Flags, answers: Answers) -> float:
    """Return the share of the kept frames whose scene had been kept before."""
    scenes = answers.scenes[kept]
    return 1 - len(np.unique(scenes)) / len(scenes) if len(scenes) else 0.0


def compute_figures(kept: Flags, answers: Answers, gap: int) -> dict[str, float]:
    """Return one choice's figures, each 0..1."""
    slices = recall_by_slice(kept, answers)
    mean = float(np.mean(list(slices.values()))) if slices else 0.0
    return {
        "keep_rate": float(kept.mean()),
        "hard_recall": recall(kept, answers.hard, answers),
        "silent_recall": recall(kept, answers.silent, answers),
        "event_recall": event_recall(kept, answers, gap),
        "worst_slice": min(slices.values()) / mean if mean else 0.0,
        "duplicates": duplicates(kept, answers),
        "useless": float(answers.useless[kept].mean()) if kept.any() else 0.0,
        **{f"slice.{name}": value for name, value in slices.items()},
    }


def average_over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """Return each figure's mean and interval over the seeds that have it."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: interval([run[name] for run in runs if name in run]) for name in names}


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Return ours / theirs, mean and interval over the seeds; every seed's own pair."""
    return interval([numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)])


def normalise(measured: float, chance: float, ceiling: float) -> float:
    """Return how much of what could be gained over chance was gained."""
    return (measured - chance) / (ceiling - chance) if ceiling > chance else 0.0
