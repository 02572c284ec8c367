"""What a person looks at: kept frames with boxes and reasons, the funnel, the curves. Written as one folder."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np

from roadloop_world.demo.loop_state import ScreenedFrame
from roadloop_world.demo.promises import Promise
from screen.commands.why_text import put_reasons_in_words
from screen.vision.draw_boxes import draw_boxes

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
    for number, (version, by_condition) in enumerate(scores.items()):
        places = np.arange(len(conditions)) + number * width
        axes.bar(places, [by_condition.get(condition, 0) for condition in conditions], width, label=version)
    axes.set_xticks(np.arange(len(conditions)) + 0.4 - width / 2, conditions)
    axes.set_ylabel("mAP at overlap 0.5")
    if scores:
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


def draw_loss(steps: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a training's loss curve."""
    figure, axes = plt.subplots(figsize=(9, 2.6))
    axes.plot([step["step"] for step in steps], [step["loss"] for step in steps], color="#c05621")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    picture = BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    plt.close(figure)
    _put(path, picture.getvalue())


RELOAD_S = 5  # while the demo runs


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown: figures, promises, verdicts, and a training's curve. `now` says what goes on, until the end."""

    report: Mapping[str, Any]
    promises: Sequence[Promise]
    frames: Sequence[ScreenedFrame]
    steps: Sequence[Mapping[str, Any]]
    now: str = ""


def write(folder: Path, page: Page, pictures: Mapping[str, bytes]) -> Path:
    """Write report.json, the charts and index.html, each whole or not at all; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    promises = [
        {"name": promise.name, "outcome": promise.outcome.value, "why": promise.why} for promise in page.promises
    ]
    _put(folder / "report.json", json.dumps({**page.report, "promises": promises}, indent=2).encode())
    draw_funnel(page.report, folder / "funnel.png")
    draw_map(page.report["map"], folder / "map.png")
    draw_keep_rate([frame.verdict.verdict == "kept" for frame in page.frames], folder / "keep_rate.png")
    draw_loss(page.steps, folder / "loss.png")
    views = [_show(folder, frame, pictures) for frame in choose(page.frames, pictures)]
    template = jinja2.Environment(autoescape=True).from_string((Path(__file__).parent / "index.html.j2").read_text())
    html = template.render(
        report=page.report, promises=promises, shown=views, now=page.now, reload_s=RELOAD_S, stamp=uuid.uuid4().hex
    )
    _put(folder / "index.html", html.encode())
    return folder / "index.html"


def _put(path: Path, content: bytes) -> None:
    """Replace a file: a browser that reloads meanwhile sees the old one or the new one."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)


def choose(frames: Sequence[ScreenedFrame], pictures: Mapping[str, bytes], most: int = 48) -> list[ScreenedFrame]:
    """Choose kept frames to show: the highest scores of each slice and tenant in turn."""
    kept = [frame for frame in frames if frame.verdict.verdict == "kept" and frame.verdict.frame_id in pictures]
    kept.sort(key=lambda frame: -(frame.verdict.score or 0))
    by_slice: dict[tuple[str, str], list[ScreenedFrame]] = {}
    for frame in kept:
        by_slice.setdefault((frame.tenant, frame.verdict.condition), []).append(frame)
    rounds = max(map(len, by_slice.values()), default=0)
    turn = [frames[n] for n in range(rounds) for frames in by_slice.values() if n < len(frames)]
    return turn[:most]


def _show(folder: Path, frame: ScreenedFrame, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    verdict = frame.verdict
    path = folder / "frames" / f"{verdict.frame_id}.jpg"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():  # a verdict never changes
        _put(path, draw_boxes(pictures[verdict.frame_id], verdict.detections))
    model = f"{verdict.models.name} v{verdict.models.version}" if verdict.models else ""
    slice_ = f"{frame.tenant} · {verdict.slice}"
    return {"file": f"frames/{path.name}", "why": put_reasons_in_words(verdict), "slice": slice_, "model": model}
