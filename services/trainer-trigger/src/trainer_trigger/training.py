"""The trainer as a child process: it trains and predicts, and dies with us."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Told = Callable[[str], None]
FOLLOW_S = 1.0
PREDICT_LIMIT_S = 600.0
MAX_LINE = 500  # characters of a last word


class TrainerFailed(Exception):
    """The trainer ended badly, or not in time. The text is its last word."""


@dataclass(frozen=True, slots=True)
class Trainer:
    """How to run the trainer. It gets these variables and no others: our secrets are none of its business."""

    python: Path
    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """What to train."""

    dataset: Path
    init: Path
    out: Path
    seed: int
    steps: int
    max_seconds: float
    architecture: str

    @property
    def limit_s(self) -> float:
        """Starting and exporting come on top of `max_seconds`, on a busy machine much of it."""
        return self.max_seconds * 1.5 + 120


async def train(trainer: Trainer, order: Order, told: Told) -> None:
    """Train into `order.out`; a folder that is whole already is kept. Raises TrainerFailed."""
    if _is_whole(order.out):
        return
    _clear(order.out)
    arguments = ["train", "--dataset", str(order.dataset), "--init", str(order.init), "--out", str(order.out)]
    arguments += ["--seed", str(order.seed), "--steps", str(order.steps), "--max-seconds", str(order.max_seconds)]
    if order.architecture:
        arguments += ["--architecture", order.architecture]
    async with asyncio.TaskGroup() as group:
        following = group.create_task(_follow(order.out / "progress.jsonl", told))
        failure = await _run(trainer, arguments, log=order.out / "trainer.log", limit_s=order.limit_s)
        following.cancel()
    if failure:
        raise TrainerFailed(failure)
    if not _is_whole(order.out):
        raise TrainerFailed("the trainer said it was done, but report.json is not there")


async def predict(trainer: Trainer, model: Path, dataset: Path, split: str, *, out: Path) -> None:
    """Write a model's detections on a split; what is there already is kept. Raises TrainerFailed."""
    if _is_there(out):
        return
    partial = out.with_suffix(".part")
    arguments = ["predict", "--model", str(model), "--dataset", str(dataset), "--split", split, "--out", str(partial)]
    failure = await _run(trainer, arguments, log=out.with_suffix(".log"), limit_s=PREDICT_LIMIT_S)
    if failure:
        raise TrainerFailed(failure)
    partial.replace(out)


def _is_there(path: Path) -> bool:
    return path.exists()


def _is_whole(folder: Path) -> bool:
    """A model folder gets its report last."""
    return (folder / "report.json").exists()


def _clear(folder: Path) -> None:
    """Begin anew where a run was cut off."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _run(trainer: Trainer, arguments: Sequence[str], *, log: Path, limit_s: float) -> str:
    """Return why it failed; nothing where it did not."""
    tether = (sys.executable, "-I", "-m", "trainer_trigger.tether", str(os.getpid()))
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *(*tether, str(trainer.python), "-m", "roadloop_trainer", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={"PYTHONPATH": str(trainer.path), "PYTHONUNBUFFERED": "1", **trainer.environment},
        )
    try:
        async with asyncio.timeout(limit_s):
            code = await process.wait()
    except TimeoutError:
        return f"not done within {limit_s:.0f} s; raise max_seconds or lower steps"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return "" if code == 0 else last_line(log) or f"exit code {code}, without a word"


def last_line(log: Path) -> str:
    """Return the last line that is not empty, cut to a bearable length."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:MAX_LINE] if lines else ""


async def _follow(path: Path, told: Told) -> None:
    """Pass on each line the trainer appends."""
    seen = 0
    while True:
        await asyncio.sleep(FOLLOW_S)
        lines = _whole_lines(path)
        for line in lines[seen:]:
            told(line)
        seen = len(lines)


def _whole_lines(path: Path) -> list[str]:
    """Return the lines that end; the last one may be half written, and the next look takes it."""
    return path.read_text().split("\n")[:-1] if path.exists() else []
