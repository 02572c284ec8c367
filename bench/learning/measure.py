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

from learning.cache import WORKERS, folder_of, looks
from learning.configuration import FROZEN, SEEDS, TUNING_SEEDS, Meaning, Streams, check
from learning.days import OURS, SHUFFLED, SINGLE_PARTS, Found, measure_day
from learning.figures import Interval, interval, normalised, over_seeds, ratio
from learning.freeze import freeze, frozen_digest
from learning.look import Predictions, load
from learning.page import write
from learning.product import day, screen
from learning.stream import Moment, moments
from learning.targets import targets
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


def measure(asked: Namespace, report: Report) -> dict[str, Any]:
    """Screen every seed's day by every arm; return figures, ratios, and each seed's own."""
    streams, meaning = Streams(), Meaning()
    seeds = SEEDS[: asked.seeds]
    if asked.freeze:
        report(json.dumps(freeze(streams, meaning, looks(BUILD / "cache", streams, TUNING_SEEDS, report)), indent=2))
    check(frozen_digest(streams, meaning), json.loads(FROZEN.read_text()))
    looks_of = looks(BUILD / "cache", streams, (*TUNING_SEEDS, *seeds), report)
    before = {second: _days_before(looks_of, streams, second) for second in ("other", "clone", "none")}
    report(f"{len(TUNING_SEEDS)} days before: {len(before['other'])} frames of the audit")
    found = _all_days(seeds, partial(_one_day, streams, meaning, before), report)
    result = summarise(found)
    write(BUILD.parent, result, found[0], json.loads(FROZEN.read_text()), partial(_seen, streams))
    return result


def _seen(streams: Streams, seed: int) -> tuple[Sequence[Moment], Predictions]:
    return moments(seed, streams), load(_held(streams) / f"{seed}.npz")


def _held(streams: Streams) -> Path:
    return folder_of(BUILD / "cache", streams)


def _days_before(looks_of: Callable[[int], Predictions], streams: Streams, second: str) -> Sequence[LabelledFrame]:
    """Return what the audit of the tuning seeds' days has taught: the measured day is not the fleet's first."""
    lessons: Sequence[LabelledFrame] = ()
    for number, seed in enumerate(TUNING_SEEDS, 1 - len(TUNING_SEEDS)):  # the measured days are numbered from 1 on
        before = day(number, moments(seed, streams), looks_of(seed), second=second, unit=streams.unit)
        lessons = screen(before, POLICY, before=lessons).lessons
    return lessons


def _one_day(streams: Streams, meaning: Meaning, before: Mapping[str, Sequence[LabelledFrame]], seed: int) -> Found:
    nice(19)
    return measure_day(seed, load(_held(streams) / f"{seed}.npz"), streams, meaning, policy=POLICY, before=before)


def _all_days(seeds: Sequence[int], one_day: Callable[[int], Found], report: Report) -> list[Found]:
    found = []
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        for done in pool.map(one_day, seeds):
            found.append(done)
            said = done.arms[OURS]["hard_recall"] / done.arms["random"]["hard_recall"]
            report(f"{len(found)}/{len(seeds)} seed {done.seed}: hard-recall {said:.2f} x random")
    return found


def summarise(found: Sequence[Found]) -> dict[str, Any]:
    """Return every arm's figures over the seeds, the ratios, the targets and whether they are met."""
    by_arm = {name: [one.arms[name] for one in found] for name in found[0].arms}
    arms = {name: over_seeds(rows) for name, rows in by_arm.items()}
    figures = {f"{name}.{key}": round(value.mean, 4) for name, each in arms.items() for key, value in each.items()}
    best_part = max(SINGLE_PARTS, key=lambda name: arms[name]["event_recall"].mean)
    margin = interval(
        [o["event_recall"] - p["event_recall"] for o, p in zip(by_arm[OURS], by_arm[best_part], strict=True)]
    )
    mean = {name: each["hard_recall"].mean for name, each in arms.items()}
    ratios = _ratios(by_arm)
    return {
        "figures": figures,
        "ratio": {name: round(value.mean, 3) for name, value in ratios.items()},
        "intervals": {name: [round(edge, 3) for edge in value] for name, value in ratios.items()},
        "normalised_recall": round(normalised(mean[OURS], mean["random"], mean["ceiling"]), 3),
        "events_against_best_part": {"part": best_part, "difference": [round(edge, 4) for edge in margin]},
        "targets": targets(
            ratios["random"], ratios["silent"], arms[OURS], margin, ratios[f"{SHUFFLED}{OURS} / random"]
        ),
        "curves": _curves(found),
        "runs": [{"seed": one.seed, "policy_version": one.refits, "arms": one.arms} for one in found],
    }


def _ratios(by_arm: Mapping[str, Rows]) -> dict[str, Interval]:
    """Return each arm's hard-recall over that of chance, on the same truth; and of ours that of silent misses."""

    def against_chance(name: str, figure: str = "hard_recall") -> Interval:
        chance = by_arm[f"{SHUFFLED}random" if name.startswith(SHUFFLED) else "random"]
        return ratio([row[figure] for row in by_arm[name]], [row[figure] for row in chance])

    arms = {f"{name} / random": against_chance(name) for name in by_arm}
    return {"random": arms[f"{OURS} / random"], "silent": against_chance(OURS, "silent_recall"), **arms}


def _curves(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """Return the mean hard-recall by arm and budget, over the seeds that have curves."""
    drawn = [one.curves for one in found if one.curves]
    return {
        name: {str(budget): round(sum(one[name][budget] for one in drawn) / len(drawn), 4) for budget in drawn[0][name]}
        for name in (drawn[0] if drawn else ())
    }


def table(result: Mapping[str, Any]) -> str:
    """Return the arms and the targets as a table."""
    names = [name for name in result["runs"][0]["arms"] if not name.startswith(SHUFFLED)]
    lines = [
        _row("arm", "x random", *(column.replace("_", " ") for column in COLUMNS)),
        _row(*["---"] * (len(COLUMNS) + 2)),
    ]
    for name in names:
        shown = (f"{result['figures'][f'{name}.{column}']:.3f}" for column in COLUMNS)
        lines.append(_row(name, f"{result['ratio'][f'{name} / random']:.2f}", *shown))
    lines += ["", _row("target", "measured", "wanted", "met"), _row("---", "---:", "---", "---")]
    return "\n".join(lines + [_row(*_said(target)) for target in result["targets"]])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _said(target: Mapping[str, Any]) -> tuple[str, ...]:
    return target["figure"], str(target["measured"]), target["target"], "yes" if target["met"] else "NO"
