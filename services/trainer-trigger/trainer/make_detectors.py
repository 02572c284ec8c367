"""Train the detectors that Roadloop starts with, and measure them. Run it with the root environment's Python.

Usage: `.venv/bin/python services/trainer-trigger/trainer/make_detectors.py` (about 4 minutes on 2 cores).
"""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from roadloop_world.rendering.datasets import render_base_training_set, render_validation_set, write_split

ROOT = Path(__file__).parents[3]
TRAINER_PYTHON = ROOT / ".venvs/trainer/bin/python"
DETECTORS = Path(__file__).parents[1] / "detectors"
KEPT = ("model.onnx", "checkpoint.npz", "detector.json")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one detector is made from the base training set."""

    name: str
    seed: int
    steps: int
    architecture: str


RECIPES = (
    Recipe("v0", seed=1, steps=45, architecture="plain"),
    Recipe("v1", seed=1, steps=800, architecture="plain"),
    Recipe("second", seed=7, steps=800, architecture="patchify"),
)


def main() -> None:
    """Make all detectors and print their mean average precision per condition."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        write_split(dataset, "train", render_base_training_set())
        write_split(dataset, "validation", render_validation_set())
        for recipe in RECIPES:
            detector_folder = Path(folder) / recipe.name
            _train(recipe, dataset, detector_folder)
            print(recipe.name, json.dumps(_score(dataset, detector_folder)))
            _keep(detector_folder, DETECTORS / recipe.name)


def _train(recipe: Recipe, dataset: Path, out: Path) -> None:
    size = ("--seed", str(recipe.seed), "--steps", str(recipe.steps), "--architecture", recipe.architecture)
    _run_trainer("train", "--dataset", str(dataset), "--init", "none", "--out", str(out), *size)


def _score(dataset: Path, detector_folder: Path) -> dict[str, float]:
    predictions = detector_folder / "predictions.jsonl"
    _run_trainer("predict", "--dataset", str(dataset), "--model", str(detector_folder), "--out", str(predictions))
    scores: dict[str, float] = json.loads(
        _run_trainer("score", "--dataset", str(dataset), "--predictions", str(predictions))
    )
    return scores


def _run_trainer(*arguments: str) -> str:
    command = [str(TRAINER_PYTHON), "-m", "roadloop_trainer", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


def _keep(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(source / name, target / name)


if __name__ == "__main__":
    main()
