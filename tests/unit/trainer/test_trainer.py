"""The trainer: what it refuses, what it suppresses, how it scores. Training itself needs its own environment."""

import importlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

TRAINER = Path(__file__).parents[3] / "services/trainer-trigger/trainer"
CAR = {"class": "car", "x1": 0.1, "y1": 0.1, "x2": 0.5, "y2": 0.5}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports one of the trainer's modules."""
    monkeypatch.syspath_prepend(str(TRAINER))
    return lambda name: importlib.import_module(f"roadloop_trainer.{name}")


def _dataset(folder: Path, *lines: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "classes.json").write_text('["car", "bus"]')
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param([], "train.jsonl: has no lines", id="an empty split"),
        pytest.param([{"image": "a.jpg", "boxes": [CAR | {"class": "dog"}]}], "unknown class 'dog'", id="a new class"),
        pytest.param([{"image": "a.jpg", "boxes": [CAR | {"x2": 1.2}]}], "not inside the picture", id="outside"),
        pytest.param([{"image": "a.jpg", "boxes": [CAR | {"x1": float("nan")}]}], "not inside", id="not a number"),
        pytest.param([{"image": "a.jpg", "boxes": [CAR | {"x2": 0.1}]}], "not inside", id="no width"),
        pytest.param([{"image": "a.jpg", "boxes": [], "weight": 0}], "weight 0.0", id="no weight"),
        pytest.param([{"image": "a.jpg"}], "train.jsonl:1: is no frame", id="no boxes"),
        pytest.param([["a.jpg"]], "train.jsonl:1: is no frame", id="a list"),
    ],
)
def test_bad_lines_are_refused(trainer: Any, tmp_path: Path, lines: list[object], says: str) -> None:
    dataset = trainer("dataset")
    folder = _dataset(tmp_path / "set", *lines)
    with pytest.raises(dataset.BadDatasetError, match=says):
        dataset.read_rows(folder, "train", dataset.read_classes(folder))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("missing.jpg", "no readable picture", id="missing"),
        pytest.param("text.jpg", "no readable picture", id="no picture"),
        pytest.param("../text.jpg", "outside the dataset folder", id="outside the folder"),
    ],
)
def test_unreadable_pictures_are_refused(trainer: Any, tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    dataset = trainer("dataset")
    with pytest.raises(dataset.BadDatasetError, match=says):
        dataset.read_picture(tmp_path, name)


def test_a_picture_of_another_size_is_stretched(trainer: Any, tmp_path: Path) -> None:
    dataset = trainer("dataset")
    cv2.imwrite(str(tmp_path / "a.png"), np.full((320, 512, 3), (255, 0, 0), np.uint8))
    picture = dataset.read_picture(tmp_path, "a.png")
    assert picture.shape == (160, 256, 3)
    assert picture[0, 0].tolist() == [0, 0, 255]


def test_suppression_keeps_the_best_of_each_class(trainer: Any) -> None:
    rows = np.array([[0, 0, 1, 1, 0.5, 0], [0, 0, 1, 0.9, 0.9, 0], [0, 0, 1, 1, 0.3, 1]], np.float32)
    assert trainer("predict").suppress(rows)[:, 4].tolist() == pytest.approx([0.9, 0.3])


def test_another_familys_detector_is_refused(trainer: Any, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_text('{"family": "yolo"}')
    with pytest.raises(trainer("dataset").BadDatasetError, match="of the family yolo; this trainer runs those of"):
        trainer("predict").predict(tmp_path, tmp_path, "validation", tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("detections", "expected"),
    [
        pytest.param([[0.1, 0.1, 0.5, 0.5, 0.9, 0]], 1.0, id="found"),
        pytest.param([], 0.0, id="missed"),
        pytest.param([[0.1, 0.1, 0.5, 0.5, 0.9, 1]], 0.0, id="taken for another class"),
        pytest.param([[0.6, 0.6, 0.9, 0.9, 0.95, 0], [0.1, 0.1, 0.5, 0.5, 0.9, 0]], 0.5, id="a better-scored error"),
        pytest.param([[0.1, 0.1, 0.5, 0.5, 0.9, 0], [0.1, 0.1, 0.5, 0.5, 0.8, 0]], 1.0, id="found twice"),
    ],
)
def test_average_precision(trainer: Any, tmp_path: Path, detections: list[list[float]], expected: float) -> None:
    folder = _dataset(tmp_path / "set", {"image": "a.jpg", "boxes": [CAR], "condition": "rain"})
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text(json.dumps({"image": "a.jpg", "detections": detections}) + "\n")
    scores = trainer("average_precision").score(folder, "train", predictions)
    assert scores == pytest.approx({"rain": expected, "mean": expected})


def test_the_weights_with_the_smallest_held_out_loss_are_kept_and_what_gains_no_more_is_counted(trainer: Any) -> None:
    best = trainer("best_so_far").BestSoFar()
    for step, loss in [(25, 0.9), (50, 0.4), (75, 0.4), (100, float("nan")), (125, 0.41)]:
        best.take_loss(step, loss, f"weights of step {step}")
    assert (best.loss, best.step, best.state, best.without_gain) == (0.4, 50, "weights of step 50", 3)


def test_a_tenth_of_the_drives_is_held_out_whole_and_always_the_same(trainer: Any, tmp_path: Path) -> None:
    dataset = trainer("dataset")
    lines = [{"image": f"{n}.jpg", "boxes": [CAR], "drive": f"d-{n // 5}"} for n in range(500)]
    folder = _dataset(tmp_path / "set", *lines)
    rows = dataset.read_rows(folder, "train", dataset.read_classes(folder))
    trained, held = dataset.hold_out(rows, folder)
    assert {row.group for row in trained} & {row.group for row in held} == set()
    assert len(trained) + len(held) == 500
    assert 25 <= len(held) <= 75
    assert dataset.hold_out(rows[::-1], folder) == (trained[::-1], held[::-1])


def test_too_few_drives_to_hold_one_out_are_refused(trainer: Any, tmp_path: Path) -> None:
    dataset = trainer("dataset")
    folder = _dataset(tmp_path / "set", {"image": "a.jpg", "boxes": [CAR]})
    with pytest.raises(dataset.BadDatasetError, match="leave nothing to hold out; give more drives, or leave"):
        dataset.hold_out(dataset.read_rows(folder, "train", ["car", "bus"]), folder / "train.jsonl")


def test_progress_is_written_when_something_moved_and_says_how_long_the_rest_takes(
    trainer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "progress.jsonl"
    with trainer("progress").write_progress(path, steps=10) as progress:
        progress.after_step(1, 0.5, now=100.0)
        assert progress.left_s is None, "the first step compiles"
        progress.after_step(5, 0.25, now=108.0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line | {"seconds": 0} for line in (lines[0], lines[-1])] == [
        {"phase": "reading", "step": 0, "steps": 10, "loss": None, "frames": 0, "left_s": None, "seconds": 0},
        {"phase": "training", "step": 5, "steps": 10, "loss": 0.25, "frames": 0, "left_s": 10.0, "seconds": 0},
    ]
