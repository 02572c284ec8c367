"""How much more does what screening keeps teach than what chance keeps? Rendered days with exact truth, ten seeds."""

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from os import nice
from pathlib import Path
from typing import Any

from learning.cache import WORKERS, folder_of, open_predictions
from learning.configuration import FROZEN, SEEDS, TUNING_SEEDS, Meaning, Streams, check
from learning.days import OURS, SHUFFLED, SINGLE_PARTS, DayFigures, measure_day
from learning.figures import Interval, average_over_seeds, interval, normalise, ratio
from learning.freeze import compute_frozen_digest, freeze
from learning.look import Predictions, load
from learning.page import write
from learning.product import make_day, screen
from learning.stream import Moment, moments
from learning.targets import list_targets
from loop.turns import Report
from roadloop_schemas.policies import ScreenPolicy
from screen.learn.labelled_audit import LabelledFrame

BUILD = Path(__file__).resolve().parents[2] / "build" / "bench" / "learning"
POLICY = ScreenPolicy(
    version=1,
    threshold=0.5,
    controlled=True,
    brightness=(0.05, 0.8),
    blur_ratio=0.15,
    duplicate_distance=4,
    duplicate_step=0.8,
    duplicate_light=0.0005,
    spread=0.5,
    shared=True,
    slice_range=(0.03, 0.7),
    hard_errors=Meaning().hard_errors,
)
COLUMNS = ("hard_recall", "silent_recall", "event_recall", "worst_slice", "duplicates", "useless", "keep_rate")
Rows = Sequence[Mapping[str, float]]


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Screen every seed's day by every arm; return figures, ratios, and each seed's own."""
    streams, meaning = Streams(), Meaning()
    cache = folder_of(BUILD / "cache", streams)
    seeds = SEEDS[: options.seeds]
    if options.freeze:
        frozen = freeze(streams, meaning, open_predictions(cache, streams, TUNING_SEEDS, report))
        report(json.dumps(frozen, indent=2))
    check(compute_frozen_digest(streams, meaning), json.loads(FROZEN.read_text()))
    predictions_of = open_predictions(cache, streams, (*TUNING_SEEDS, *seeds), report)
    before = {second: _days_before(predictions_of, streams, second) for second in ("other", "clone", "none")}
    report(f"{len(TUNING_SEEDS)} days before: {len(before['other'])} frames of the audit")
    days = _measure_days(seeds, partial(_measure_day, cache, streams, meaning, before), report)
    result = summarise(days)
    write(BUILD.parent, result, days[0], json.loads(FROZEN.read_text()), partial(_load_stream, cache, streams))
    return result


def _load_stream(cache: Path, streams: Streams, seed: int) -> tuple[Sequence[Moment], Predictions]:
    return moments(seed, streams), load(cache / f"{seed}.npz")


def _days_before(
    predictions_of: Callable[[int], Predictions], streams: Streams, second: str
) -> Sequence[LabelledFrame]:
    """Return what the audit of the tuning seeds' days has taught: the measured day is not the fleet's first."""
    labelled_frames: Sequence[LabelledFrame] = ()
    for number, seed in enumerate(TUNING_SEEDS, 1 - len(TUNING_SEEDS)):  # the measured days are numbered from 1 on
        before = make_day(number, moments(seed, streams), predictions_of(seed), second=second, unit=streams.unit)
        labelled_frames = screen(before, POLICY, before=labelled_frames).labelled_frames
    return labelled_frames


def _measure_day(
    cache: Path, streams: Streams, meaning: Meaning, before: Mapping[str, Sequence[LabelledFrame]], seed: int
) -> DayFigures:
    nice(19)
    return measure_day(seed, load(cache / f"{seed}.npz"), streams, meaning, policy=POLICY, before=before)


def _measure_days(seeds: Sequence[int], one_day: Callable[[int], DayFigures], report: Report) -> list[DayFigures]:
    days = []
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        for day_figures in pool.map(one_day, seeds):
            days.append(day_figures)
            times_random = day_figures.arms[OURS]["hard_recall"] / day_figures.arms["random"]["hard_recall"]
            report(f"{len(days)}/{len(seeds)} seed {day_figures.seed}: hard-recall {times_random:.2f} x random")
    return days


def summarise(days: Sequence[DayFigures]) -> dict[str, Any]:
    """Return every arm's figures over the seeds, the ratios, the targets and whether they are met."""
    by_arm = {name: [day_figures.arms[name] for day_figures in days] for name in days[0].arms}
    arms = {name: average_over_seeds(rows) for name, rows in by_arm.items()}
    figures = {
        f"{name}.{key}": round(value.mean, 4)
        for name, arm_figures in arms.items()
        for key, value in arm_figures.items()
    }
    best_part = max(SINGLE_PARTS, key=lambda name: arms[name]["event_recall"].mean)
    margin = interval(
        [
            ours["event_recall"] - part["event_recall"]
            for ours, part in zip(by_arm[OURS], by_arm[best_part], strict=True)
        ]
    )
    mean = {name: arm_figures["hard_recall"].mean for name, arm_figures in arms.items()}
    ratios = _compute_ratios(by_arm)
    return {
        "figures": figures,
        "ratio": {name: round(value.mean, 3) for name, value in ratios.items()},
        "intervals": {name: [round(edge, 3) for edge in value] for name, value in ratios.items()},
        "normalised_recall": round(normalise(mean[OURS], mean["random"], mean["ceiling"]), 3),
        "events_against_best_part": {"part": best_part, "difference": [round(edge, 4) for edge in margin]},
        "targets": list_targets(
            ratios["random"], ratios["silent"], arms[OURS], margin, ratios[f"{SHUFFLED}{OURS} / random"]
        ),
        "curves": _average_curves(days),
        "runs": [
            {"seed": day_figures.seed, "policy_version": day_figures.refits, "arms": day_figures.arms}
            for day_figures in days
        ],
    }


def _compute_ratios(by_arm: Mapping[str, Rows]) -> dict[str, Interval]:
    """Return each arm's hard-recall over that of chance, on the same truth; and of ours that of silent misses."""

    def against_chance(name: str, figure: str = "hard_recall") -> Interval:
        chance = by_arm[f"{SHUFFLED}random" if name.startswith(SHUFFLED) else "random"]
        return ratio([row[figure] for row in by_arm[name]], [row[figure] for row in chance])

    arms = {f"{name} / random": against_chance(name) for name in by_arm}
    return {"random": arms[f"{OURS} / random"], "silent": against_chance(OURS, "silent_recall"), **arms}


def _average_curves(days: Sequence[DayFigures]) -> dict[str, dict[str, float]]:
    """Return the mean hard-recall by arm and budget, over the seeds that have curves."""
    curves = [day_figures.curves for day_figures in days if day_figures.curves]
    return {
        name: {
            str(budget): round(sum(day_figures[name][budget] for day_figures in curves) / len(curves), 4)
            for budget in curves[0][name]
        }
        for name in (curves[0] if curves else ())
    }


def make_table(result: Mapping[str, Any]) -> str:
    """Return the arms and the targets as a table."""
    names = [name for name in result["runs"][0]["arms"] if not name.startswith(SHUFFLED)]
    lines = [
        _make_row("arm", "x random", *(column.replace("_", " ") for column in COLUMNS)),
        _make_row(*["---"] * (len(COLUMNS) + 2)),
    ]
    for name in names:
        shown = (f"{result['figures'][f'{name}.{column}']:.3f}" for column in COLUMNS)
        lines.append(_make_row(name, f"{result['ratio'][f'{name} / random']:.2f}", *shown))
    lines += ["", _make_row("target", "measured", "wanted", "met"), _make_row("---", "---:", "---", "---")]
    return "\n".join(lines + [_make_row(*_make_cells(target)) for target in result["targets"]])


def _make_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _make_cells(target: Mapping[str, Any]) -> tuple[str, ...]:
    return target["figure"], str(target["measured"]), target["target"], "yes" if target["met"] else "NO"
