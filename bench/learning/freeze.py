"""Write down what is frozen: the configuration, the task's digest, and what was found on the tuning seeds."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from learning.answers import Answers, answer
from learning.configuration import FROZEN, TUNING_SEEDS, Meaning, Streams, digest
from learning.look import Predictions
from learning.sample import compute_streams_digest, judge_drawn_predictions
from learning.stream import moments


def compute_frozen_digest(streams: Streams, meaning: Meaning) -> str:
    """Return the digest of all that the task is made of: streams, pictures, networks, and what counts as hard."""
    return digest(meaning, compute_streams_digest(streams).encode(), judge_drawn_predictions(meaning))


def freeze(streams: Streams, meaning: Meaning, predictions_of: Callable[[int], Predictions]) -> dict[str, Any]:
    """Measure the tuning seeds and write `frozen.json`; the seeds that figures come from are not looked at."""
    pairs = [
        (answer(stream, predictions_of(seed), meaning), answer(stream, predictions_of(seed), meaning, second=True))
        for seed in TUNING_SEEDS
        for stream in [moments(seed, streams)]
    ]
    ours = [answers for answers, _ in pairs]
    frozen = {
        "sha256": compute_frozen_digest(streams, meaning),
        "streams": asdict(streams),
        "meaning": asdict(meaning),
        "measured_on_seeds": TUNING_SEEDS,
        "hard_by_least_errors": {
            k: _mean(_share(answers.totals >= k, answers) for answers in ours) for k in (1, 2, 3, 4)
        },
        "hard": _mean(_share(answers.hard, answers) for answers in ours),
        "silent": _mean(_share(answers.silent, answers) for answers in ours),
        "standing_duplicates": _mean(1 - len(np.unique(answers.scenes)) / len(answers.scenes) for answers in ours),
        "useless": _mean(float(answers.useless.mean()) for answers in ours),
        "correlation_of_hard_frames": _mean(_correlation(*pair) for pair in pairs),
    }
    FROZEN.write_text(json.dumps(frozen, indent=2) + "\n")
    return frozen


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 4)


def _share(flags: np.ndarray[Any, np.dtype[np.bool_]], answers: Answers) -> float:
    """Return the share of scenes in which a usable frame is flagged."""
    usable = ~answers.useless
    return len(np.unique(answers.scenes[flags & usable])) / len(np.unique(answers.scenes[usable]))


def _correlation(ours: Answers, theirs: Answers) -> float:
    """Return how alike both models' hard frames are: the phi coefficient, 0 for independent ones."""
    usable = ~ours.useless
    return float(np.corrcoef(ours.hard[usable], theirs.hard[usable])[0, 1])
