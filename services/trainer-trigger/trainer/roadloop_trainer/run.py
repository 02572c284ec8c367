"""Make one training run: read, train, export, compare, report."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from roadloop_trainer.dataset import (
    INPUT_HEIGHT,
    INPUT_WIDTH,
    BadDatasetError,
    Examples,
    Row,
    hold_out,
    read_classes,
    read_examples,
    read_rows,
)
from roadloop_trainer.progress import Progress, write_progress

SCORE_FLOOR = 0.05
_PARITY_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What to train."""

    dataset: Path
    init: Path | None  # a checkpoint to go on from
    out: Path
    seed: int
    steps: int
    patience: int  # evaluations of a held-out tenth without gain that end it; 0 holds nothing out
    architecture: str


def run(order: Order) -> None:
    """Fill the output folder; `report.json` comes last, so a folder that has it is whole."""
    order.out.mkdir(parents=True, exist_ok=True)
    with write_progress(order.out / "progress.jsonl", order.steps) as progress:
        classes = read_classes(order.dataset)
        rows = read_rows(order.dataset, "train", classes)
        _check_start(order, classes)
        examples, held_out = _read(order, rows, progress)
        progress.phase = "compiling"
        report = _train(order, classes, examples, held_out, progress)
        progress.phase = "done"
    _write_json(order.out / "report.json", report)


def _check_start(order: Order, classes: list[str]) -> None:
    if order.init is None:
        return
    from roadloop_trainer.checkpoint import describe

    stored = describe(order.init)
    if (stored.architecture, stored.classes) != (order.architecture, classes):
        raise BadDatasetError(
            f"{order.init}: is a {stored.architecture} network for {stored.classes}, not {order.architecture} for "
            f"{classes}; give a checkpoint of the same architecture and classes, or none"
        )


def _read(order: Order, rows: list[Row], progress: Progress) -> tuple[Examples, Examples | None]:
    """Return what is trained on, and what is held out where that is asked for."""

    def report(frames: int) -> None:
        progress.frames = frames

    if not order.patience:
        return read_examples(order.dataset, rows, report), None
    training_rows, held_out_rows = hold_out(rows, order.dataset / "train.jsonl")
    examples = read_examples(order.dataset, training_rows, report)
    return examples, read_examples(order.dataset, held_out_rows, lambda frames: report(len(training_rows) + frames))


def _train(
    order: Order, classes: list[str], examples: Examples, held_out: Examples | None, progress: Progress
) -> dict[str, object]:
    from roadloop_trainer import checkpoint, export, networks, training

    started = time.monotonic()
    network = networks.build(order.architecture, len(classes), order.seed)
    if order.init is not None:
        checkpoint.restore(order.init, network)

    def report(step: int, loss: float) -> None:
        progress.after_step(step, loss, time.monotonic())

    rate = training.WARM_RATE if order.init else training.FRESH_RATE
    budget = training.Budget(order.steps, order.patience, rate)
    outcome = training.train(network, examples, held_out, order.seed, budget, report=report)
    progress.phase, progress.left_s = "exporting", None
    checkpoint.save(order.out / "checkpoint.npz", network, checkpoint.Description(order.architecture, classes))
    export.write_onnx(network, order.out / "model.onnx")
    difference = export.check_parity(network, order.out / "model.onnx", examples.images[:_PARITY_FRAMES])
    _write_json(order.out / "detector.json", _make_card(order, classes))
    return {
        **asdict(outcome),
        "run_seconds": time.monotonic() - started,
        "frames": len(examples.images),
        "seed": order.seed,
        "parity_max_abs_difference": difference,
    }


def _make_card(order: Order, classes: list[str]) -> dict[str, object]:
    return {
        "family": "roadloop",
        "classes": classes,
        "input_width": INPUT_WIDTH,
        "input_height": INPUT_HEIGHT,
        "score_floor": SCORE_FLOOR,
        "architecture": order.architecture,
    }


def _write_json(path: Path, content: object) -> None:
    """Write the file whole or not at all."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.replace(path)
