"""The trainer as a child process: it trains and predicts, and dies with us."""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadloop_runtime.standstill import Standstill

Progress = Mapping[str, Any]  # a line of progress.jsonl
Follow = Callable[[Progress], None]
SignOfLife = Callable[[], object]  # what changes as long as a child works
LOOK_S = 1.0
MAX_LINE = 500  # characters of a last word


class TrainerFailed(Exception):
    """The trainer ended badly, or hung. The text is its last word."""


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
    patience: int
    hang_after_s: float
    architecture: str


async def train(trainer: Trainer, order: Order, follow: Follow) -> None:
    """Train into `order.out`; a folder that is whole already is kept. Raises TrainerFailed."""
    if _is_whole(order.out):
        return
    _clear(order.out)
    arguments = ["train", "--dataset", str(order.dataset), "--init", str(order.init), "--out", str(order.out)]
    arguments += ["--seed", str(order.seed), "--steps", str(order.steps)]
    if order.patience:
        arguments += ["--patience", str(order.patience)]
    if order.architecture:
        arguments += ["--architecture", order.architecture]
    lines = ProgressFile(order.out / "progress.jsonl", follow)
    log, hang_after_s = order.out / "trainer.log", order.hang_after_s
    failure = await _run(trainer, arguments, log=log, sign_of_life=lines.read, hang_after_s=hang_after_s)
    if failure:
        raise TrainerFailed(failure)
    if not _is_whole(order.out):
        raise TrainerFailed("the trainer said it was done, but report.json is not there")


async def predict(trainer: Trainer, model: Path, dataset: Path, split: str, *, out: Path, hang_after_s: float) -> None:
    """Write a model's detections on a split; what is there already is kept. Raises TrainerFailed."""
    if _is_there(out):
        return
    partial = out.with_suffix(".part")
    arguments = ["predict", "--model", str(model), "--dataset", str(dataset), "--split", split, "--out", str(partial)]
    log = out.with_suffix(".log")

    def size() -> object:
        return f"{partial.stat().st_size if partial.exists() else 0} bytes of predictions"

    failure = await _run(trainer, arguments, log=log, sign_of_life=size, hang_after_s=hang_after_s)
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


async def _run(
    trainer: Trainer, arguments: Sequence[str], *, log: Path, sign_of_life: SignOfLife, hang_after_s: float
) -> str:
    """Return why it failed; nothing where it did not."""
    tether = (sys.executable, "-I", "-m", "trainer_trigger.training.parent_death", str(os.getpid()))
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *(*tether, str(trainer.python), "-m", "roadloop_trainer", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={"PYTHONPATH": str(trainer.path), "PYTHONUNBUFFERED": "1", **trainer.environment},
        )
    try:
        hanging = await _until_over(process, sign_of_life, hang_after_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if hanging:
        return f"it hung, and was ended: {hanging}; its last word: {last_line(log) or 'none'}"
    return "" if process.returncode == 0 else last_line(log) or f"exit code {process.returncode}, without a word"


async def _until_over(process: asyncio.subprocess.Process, sign_of_life: SignOfLife, hang_after_s: float) -> str:
    """Wait for a child's end, however long it takes; where nothing moves, say what stood still."""
    ended = asyncio.ensure_future(process.wait())
    standstill = Standstill(sign_of_life(), time.monotonic())
    try:
        while not (await asyncio.wait({ended}, timeout=LOOK_S))[0]:
            if standstill.look(sign_of_life(), time.monotonic()) > hang_after_s:
                stood = f"nothing has moved for {hang_after_s:g} s ({standstill.last})"
                return f"{stood}; raise hang_after_s where a step takes longer"
        sign_of_life()  # what came last is followed, too
        return ""
    finally:
        ended.cancel()


def last_line(log: Path) -> str:
    """Return the last line that is not empty, cut to a bearable length."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return _bearable(lines[-1].strip()) if lines else ""


def _bearable(text: str) -> str:
    """Cut what a trainer says to what an event carries, without characters that Postgres or a terminal minds."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_LINE])


class ProgressFile:
    """What the trainer appends to its progress file: passed on line by line, and its sign of life."""

    def __init__(self, path: Path, follow: Follow) -> None:
        self._path = path
        self._follow = follow
        self._read = 0  # bytes
        self._last = "no progress yet"

    def read(self) -> str:
        """Pass on the lines that are new, and say where the trainer is: the same words as long as nothing moves."""
        for line in self._new_lines():
            progress = _parsed(line)
            self._last = _in_words(progress)
            self._follow(progress)
        return self._last

    def _new_lines(self) -> list[str]:
        """Return the lines that end; the last one may be half written, and the next look takes it."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        return whole.decode(errors="replace").split("\n") if newline else []


def _parsed(line: str) -> Progress:
    """Return a line's fields; what is no JSON object is a phase of its own: the trainer may be somebody else's."""
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    return fields if isinstance(fields, dict) else {"phase": line[:MAX_LINE]}


def _in_words(progress: Progress) -> str:
    """Say where a training is, without the time it took: a clock that ticks is no sign of life."""
    words = ", ".join(f"{name} {value}" for name, value in progress.items() if name not in ("seconds", "left_s"))
    return _bearable(words)
