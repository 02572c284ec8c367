"""What a person looks at: kept frames with boxes and reasons, the funnel, the curves. Written as one folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np

from roadloop_world.figures import Told
from screen.picture import draw_boxes
from screen.why import reason_in_words

mpl.use("Agg")
import matplotlib.pyplot as plt


def draw_funnel(report: Mapping[str, Any], path: Path) -> None:
    """Draw how many frames got how far."""
    steps = {
        "received": report["received"],
        "ingested": report["ingested"],
        "kept": report["fates"]["kept"],
        "labelled": report["labels"],
        "trained on": report["trained"],
    }
    figure, axes = plt.subplots(figsize=(7, 2.6))
    bars = axes.barh(list(steps), list(steps.values()), color="#2b6cb0")
    axes.bar_label(bars, padding=4)
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])
    _save(figure, path)


def draw_map(scores: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw mAP per condition, one group of bars per condition, one colour per version."""
    conditions = list(next(iter(scores.values()), {}))
    figure, axes = plt.subplots(figsize=(9, 3.2))
    width = 0.8 / max(1, len(scores))
    for number, (version, found) in enumerate(scores.items()):
        places = np.arange(len(conditions)) + number * width
        axes.bar(places, [found.get(condition, 0) for condition in conditions], width, label=version)
    axes.set_xticks(np.arange(len(conditions)) + 0.4 - width / 2, conditions)
    axes.set_ylabel("mAP at overlap 0.5")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw_keep_rate(kept: Sequence[bool], path: Path, window: int = 200) -> None:
    """Draw the share of frames kept over the last `window` verdicts."""
    figure, axes = plt.subplots(figsize=(9, 2.6))
    if len(kept) > window:
        moving = np.convolve(np.asarray(kept, float), np.ones(window) / window, "valid")
        axes.plot(np.arange(len(moving)) + window, moving * 100, color="#2b6cb0")
    axes.set_xlabel("frames screened")
    axes.set_ylabel(f"% kept of the last {window}")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw_loss(progress: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw a training's loss curve."""
    figure, axes = plt.subplots(figsize=(9, 2.6))
    axes.plot([line["step"] for line in progress], [line["loss"] for line in progress], color="#c05621")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(
    folder: Path,
    report: Mapping[str, Any],
    told: Sequence[Told],
    pictures: Mapping[str, bytes],
    progress: Sequence[Mapping[str, float]],
) -> Path:
    """Write report.json, the charts and index.html; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    draw_funnel(report, folder / "funnel.png")
    draw_map(report["map"], folder / "map.png")
    draw_keep_rate([item.verdict.verdict == "kept" for item in told], folder / "keep_rate.png")
    draw_loss(progress, folder / "loss.png")
    shown = [_show(folder, item, pictures) for item in choose(told, pictures)]
    template = jinja2.Environment(autoescape=True).from_string((Path(__file__).parent / "index.html.j2").read_text())
    page = folder / "index.html"
    page.write_text(template.render(report=report, shown=shown))
    return page


def choose(told: Sequence[Told], pictures: Mapping[str, bytes], most: int = 48) -> list[Told]:
    """Choose kept frames to show: the highest scores of each slice and tenant in turn."""
    kept = [item for item in told if item.verdict.verdict == "kept" and item.verdict.frame_id in pictures]
    kept.sort(key=lambda item: -(item.verdict.score or 0))
    by_slice: dict[tuple[str, str], list[Told]] = {}
    for item in kept:
        by_slice.setdefault((item.tenant, item.verdict.condition), []).append(item)
    rounds = max(map(len, by_slice.values()), default=0)
    turn = [items[n] for n in range(rounds) for items in by_slice.values() if n < len(items)]
    return turn[:most]


def _show(folder: Path, item: Told, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    verdict = item.verdict
    name = f"frames/{verdict.frame_id}.jpg"
    (folder / "frames").mkdir(exist_ok=True)
    (folder / name).write_bytes(draw_boxes(pictures[verdict.frame_id], verdict.detections))
    model = f"{verdict.models.name} v{verdict.models.version}" if verdict.models else ""
    return {"file": name, "why": reason_in_words(verdict), "slice": f"{item.tenant} · {verdict.slice}", "model": model}
