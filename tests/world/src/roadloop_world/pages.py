"""What a person looks at: kept frames with boxes and reasons, the funnel, the curves. Written as one folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import matplotlib as mpl
import numpy as np

from roadloop_schemas.fields import Detection
from roadloop_schemas.frames import FrameScreened, VerdictReason
from roadloop_world.figures import Told

mpl.use("Agg")
import matplotlib.pyplot as plt

WORDS = {
    VerdictReason.SCORE: "the models are unsure or disagree",
    VerdictReason.AUDIT: "drawn by lot, to check the screening itself",
    VerdictReason.BELOW_THRESHOLD: "nothing new to learn",
    VerdictReason.BLURRED: "blurred",
    VerdictReason.BADLY_EXPOSED: "too dark or too bright",
    VerdictReason.NEAR_DUPLICATE: "nearly the same as a frame kept before",
    VerdictReason.OBJECT_MISSING: "the picture is gone",
    VerdictReason.OBJECT_CHANGED: "the picture was changed",
    VerdictReason.REFUSED_BY_MODEL: "the model server cannot read it",
    VerdictReason.NOT_A_PICTURE: "not a picture",
}
PARTS = {"uncertainty": "unsure", "low_top_score": "nothing found", "disagreement": "models disagree"}
SHOWN_FROM = 0.3


def reason_in_words(verdict: FrameScreened) -> str:
    """Say why a frame has its verdict."""
    said = ", ".join(WORDS[reason] for reason in verdict.reasons)
    if VerdictReason.SCORE not in verdict.reasons or verdict.score is None:
        return said
    best = max(verdict.score_parts.items(), key=lambda part: part[1], default=("", 0.0))
    return f"{said}: score {verdict.score:.2f} over {verdict.threshold:.2f}, most of it {PARTS.get(best[0], best[0])}"


def draw_boxes(picture: bytes, boxes: Sequence[Detection], width: int = 512) -> bytes:
    """Return a picture with its detections drawn in, as JPEG."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return picture
    height = round(image.shape[0] * width / image.shape[1])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if image.shape[1] > width else 2)
    for box in (b for b in boxes if b.score >= SHOWN_FROM):
        corner = (round(box.x1 * width), round(box.y1 * height))
        cv2.rectangle(image, corner, (round(box.x2 * width), round(box.y2 * height)), (60, 220, 255), 2)
        text = f"{box.class_name} {box.score:.2f}"
        cv2.putText(image, text, (corner[0], max(12, corner[1] - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 220, 255), 1)
    return cv2.imencode(".jpg", image)[1].tobytes()


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
