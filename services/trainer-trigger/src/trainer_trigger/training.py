"""The trainer as a child process: it trains and predicts, and dies with us."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Told = Callable[[Mapping[str, Any]], None]
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
    if (order.out / "report.json").exists():
        return
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "progress.jsonl").unlink(missing_ok=True)
    arguments = ["train", "--dataset", str(order.dataset), "--init", str(order.init), "--out", str(order.out)]
    arguments += ["--seed", str(order.seed), "--steps", str(order.steps), "--max-seconds", str(order.max_seconds)]
    if order.architecture:
        arguments += ["--architecture", order.architecture]
    async with asyncio.TaskGroup() as group:
        following = group.create_task(_follow(order.out / "progress.jsonl", told))
        await _run(trainer, arguments, log=order.out / "trainer.log", limit_s=order.limit_s)
        following.cancel()
    if not (order.out / "report.json").exists():
        raise TrainerFailed("the trainer said it was done, but report.json is not there")


async def predict(trainer: Trainer, model: Path, dataset: Path, split: str, *, out: Path) -> None:
    """Write a model's detections on a split; what is there already is kept. Raises TrainerFailed."""
    if out.exists():
        return
    partial = out.with_suffix(".part")
    arguments = ["predict", "--model", str(model), "--dataset", str(dataset), "--split", split, "--out", str(partial)]
    await _run(trainer, arguments, log=out.with_suffix(".log"), limit_s=PREDICT_LIMIT_S)
    partial.replace(out)


async def _run(trainer: Trainer, arguments: Sequence[str], *, log: Path, limit_s: float) -> None:
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
    except TimeoutError as error:
        raise TrainerFailed(f"not done within {limit_s:.0f} s; raise max_seconds or lower steps") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        raise TrainerFailed(last_line(log) or f"exit code {code}, without a word")


def last_line(log: Path) -> str:
    """Return the last line that is not empty, cut to a bearable length."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:MAX_LINE] if lines else ""


async def _follow(path: Path, told: Told) -> None:
    """Pass on each line the trainer appends."""
    seen = 0
    while True:
        await asyncio.sleep(FOLLOW_S)
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines[seen:-1]:  # the last one may be half written; the next look takes it
            told(json.loads(line))
        seen = max(seen, len(lines) - 1)
