"""One page: recall against budget, the targets, and pictures of what is kept and what is missed."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from learning.answers import Answers, answer
from learning.configuration import Meaning
from learning.days import SHUFFLED, DayFigures
from learning.look import Predictions, Rows
from learning.stream import Moment, picture
from roadloop_world.rendering.scenes import CLASSES

mpl.use("Agg")
import matplotlib.pyplot as plt

SHOWN, WIDTH = 12, 384
TRUTH, SEEN = (255, 255, 255), (60, 220, 255)  # BGR
SERVED_FROM = Meaning().serving_threshold
Stream = Callable[[int], tuple[Sequence[Moment], Predictions]]


def write(
    folder: Path, result: Mapping[str, Any], day_figures: DayFigures, frozen: Mapping[str, Any], stream_of: Stream
) -> Path:
    """Write learning.html beside the figures, pictures inside; return its path."""
    stream, predictions = stream_of(day_figures.seed)
    truth = answer(stream, predictions, Meaning())
    shown = {
        title: [_describe_frame(stream, predictions, truth, place) for place in places]
        for title, places in _choose_frames(day_figures, truth)
    }
    template = jinja2.Environment(autoescape=True).from_string((Path(__file__).parent / "page.html.j2").read_text())
    arms = [name for name in result["runs"][0]["arms"] if not name.startswith(SHUFFLED)]
    page = folder / "learning.html"
    charts = {"curves": _as_text(_draw_curves(result, folder / "learning-curves.png"), "png")}
    page.write_text(
        template.render(
            result=result, arms=arms, shown=shown, frozen=frozen, seed=day_figures.seed, shuffled=SHUFFLED, **charts
        )
    )
    return page


def _draw_curves(result: Mapping[str, Any], path: Path) -> bytes:
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for name, points in result["curves"].items():
        budgets = [100 * float(budget) for budget in points]
        recalls = [100 * recall for recall in points.values()]
        axes.plot(budgets, recalls, marker="o", label=name, linewidth=2.6 if name == "ours" else 1.2)
    axes.axvline(10, color="#a0aec0", linewidth=0.8)
    axes.set_xlabel("% of all frames kept")
    axes.set_ylabel("% of hard scenes found")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path.read_bytes()


def _choose_frames(day_figures: DayFigures, truth: Answers) -> Iterable[tuple[str, list[int]]]:
    """Return which frames to show: what ours kept and was hard, what it missed, and what it kept for nothing."""
    kept = np.zeros(len(truth.hard), bool)
    kept[list(day_figures.kept)] = True
    scene_was_kept = np.isin(truth.scenes, truth.scenes[kept])
    yield "Kept, and the model errs", _spread(kept & truth.hard, truth)
    yield "Missed: the model errs, and nothing of the scene was kept", _spread(truth.hard & ~scene_was_kept, truth)
    yield "Missed, and neither model saw it", _spread(truth.silent & ~scene_was_kept, truth)
    yield "Kept for nothing: the model is right", _spread(kept & ~truth.useless & (truth.totals == 0), truth)


def _spread(flags: NDArray[np.bool_], truth: Answers) -> list[int]:
    """Return frames of all conditions in turn, of different drives where there are enough."""
    _, firsts = np.unique(np.where(flags, truth.drives, -1), return_index=True)
    places = [int(place) for place in firsts if flags[place]]
    by_slice: dict[str, list[int]] = {}
    for place in places:
        by_slice.setdefault(str(truth.slices[place]), []).append(place)
    rounds = max(map(len, by_slice.values()), default=0)
    return [
        slice_places[turn] for turn in range(rounds) for slice_places in by_slice.values() if turn < len(slice_places)
    ][:SHOWN]


def _describe_frame(stream: Sequence[Moment], predictions: Predictions, truth: Answers, place: int) -> dict[str, str]:
    missed, ghosts, swapped, silent = truth.errors[place].tolist()
    errors_text = f"{missed} missed ({silent} seen by neither model), {ghosts} ghosts, {swapped} of another class"
    return {
        "source": _as_text(_draw_frame(stream[place], predictions, place)),
        "said": errors_text,
        "slice": str(truth.slices[place]),
    }


def _draw_frame(moment: Moment, predictions: Predictions, place: int) -> bytes:
    """Return the picture with what is there in white and what the serving model says in amber, as JPEG."""
    image = np.asarray(cv2.imdecode(np.frombuffer(picture(moment), np.uint8), cv2.IMREAD_COLOR), np.uint8)
    height = round(WIDTH * image.shape[0] / image.shape[1])
    image = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_LINEAR)
    ours = predictions.of("ours", place)
    _draw(image, predictions.of("truth", place), TRUTH, 1)
    _draw(image, ours[ours[:, 4] >= SERVED_FROM], SEEN, 2)
    return bytes(cv2.imencode(".jpg", image)[1])


def _draw(image: NDArray[np.uint8], rows: Rows, colour: tuple[int, int, int], thick: int) -> None:
    height, width = image.shape[:2]
    for row in rows.tolist():
        corner = (round(row[0] * width), round(row[1] * height))
        cv2.rectangle(image, corner, (round(row[2] * width), round(row[3] * height)), colour, thick)
        below = thick == 1
        at = (corner[0], round(row[3] * height) - 3 if below else max(10, corner[1] - 3))
        cv2.putText(image, CLASSES[int(row[-1])], at, cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, 1)


def _as_text(image: bytes, kind: str = "jpeg") -> str:
    return f"data:image/{kind};base64," + b64encode(image).decode()
