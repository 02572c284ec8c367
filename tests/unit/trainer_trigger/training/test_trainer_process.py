"""The trainer as a child: how long it takes never counts, and what hangs is ended and says where it stood."""

import asyncio
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainer_trigger.training import trainer_process
from trainer_trigger.training.candidate import ProgressLog
from trainer_trigger.training.trainer_process import Order, Progress, ProgressFile, Trainer, TrainerFailed


def write_trainer(folder: Path, program: str) -> Trainer:
    """Return a trainer that is this program; `out` is where it writes."""
    package = folder / "roadloop_trainer"
    package.mkdir(parents=True)
    head = "import sys, time, pathlib\nout = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
    (package / "__main__.py").write_text(head + textwrap.dedent(program))
    return Trainer(Path(sys.executable), folder)


def order(folder: Path, **changes: Any) -> Order:
    fields = {"seed": 1, "steps": 3, "patience": 0, "hang_after_s": 600.0, "architecture": ""}
    return Order(dataset=folder, init=folder / "checkpoint.npz", out=folder / "out", **(fields | changes))


@dataclass
class Clock:
    """A machine as slow as a test wants it to be: this is what the watcher takes for the time."""

    ticks: Callable[[], bool]
    now: float = 0.0
    step_s: float = 0.2

    def monotonic(self) -> float:
        self.now += self.step_s if self.ticks() else 0.0
        return self.now


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_process, "LOOK_S", 0.02)


SLOW = """
progress = (out / "progress.jsonl").open("a", buffering=1)
for step in range(6):
    while not (out / str(step)).exists():
        time.sleep(0.01)
    progress.write('{"phase": "training", "step": %d, "steps": 6}\\n' % step)
(out / "report.json").write_text("{}")
"""
HANGING = """
progress = (out / "progress.jsonl").open("a", buffering=1)
for second in range(600):
    progress.write('{"phase": "training", "step": 2, "steps": 6, "seconds": %d}\\n' % second)
    if second == 0:
        print("step 2 of 6", flush=True)
    time.sleep(0.05)
"""


async def test_a_slow_training_ends_by_its_steps_however_long_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    clock = Clock(lambda: len(steps) > clock.now / 0.4, step_s=0.4)  # each step takes most of what a hang may
    monkeypatch.setattr(trainer_process, "time", clock)

    def go_on(progress: Progress) -> None:
        steps.append(progress["step"])
        (tmp_path / "out" / str(len(steps))).touch()

    trainer = write_trainer(tmp_path, f"(out / '0').touch()\n{SLOW}")
    await trainer_process.train(trainer, order(tmp_path, hang_after_s=0.5), go_on)
    assert (steps, clock.now > 3 * 0.5) == ([0, 1, 2, 3, 4, 5], True)


async def test_a_training_that_hangs_is_ended_says_where_it_stood_and_leaves_no_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Progress] = []
    monkeypatch.setattr(trainer_process, "time", Clock(lambda: len(lines) > 0))
    trainer = write_trainer(tmp_path, HANGING)
    with pytest.raises(TrainerFailed) as failed:
        await trainer_process.train(trainer, order(tmp_path, hang_after_s=0.5), lines.append)
    assert str(failed.value) == (
        "it hung, and was ended: nothing has moved for 0.5 s (phase training, step 2, steps 6); "
        "raise hang_after_s where a step takes longer; its last word: step 2 of 6"
    )
    assert not (tmp_path / "out" / "report.json").exists()


async def test_a_prediction_that_hangs_is_ended_and_leaves_nothing_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial, out = tmp_path / "predictions.part", tmp_path / "predictions.jsonl"
    monkeypatch.setattr(trainer_process, "time", Clock(lambda: partial.exists() and partial.stat().st_size == 11))
    trainer = write_trainer(tmp_path, "out.write_text('half a line')\ntime.sleep(600)")
    with pytest.raises(TrainerFailed, match=r"nothing has moved for 0\.5 s \(11 bytes of predictions\)"):
        await trainer_process.predict(trainer, tmp_path, tmp_path, "validation", out=out, hang_after_s=0.5)
    assert not out.exists()


async def test_a_training_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    trainer = write_trainer(tmp_path, "(out / 'progress.jsonl').write_text('{}\\n')\ntime.sleep(600)")
    began = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(trainer_process.train(trainer, order(tmp_path), lambda _: began.set()))
        await began.wait()
        task.cancel()
    assert task.cancelled()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        pytest.param(b"", "no progress yet", id="nothing yet"),
        pytest.param(b'{"phase": "reading", "frames": 10, "seconds": 3}\n', "phase reading, frames 10", id="a line"),
        pytest.param(b'{"step": 1}\n{"step": 2}\n{"st', "step 2", id="a half written line waits"),
        pytest.param(b"epoch 1\n", "phase epoch 1", id="another trainer's words"),
        pytest.param(b"\xff\xfe\n", "phase ��", id="no text at all"),
        pytest.param(b"[1]\n", "phase [1]", id="no object"),
        pytest.param(b'{"phase": "a\\u0000b\\u001b[2Jc"}\n', "phase a b [2Jc", id="what a terminal minds"),
        pytest.param(b'{"phase": "' + b"x" * 9_000 + b'"}\n', "phase " + "x" * 494, id="more than an event carries"),
    ],
)
def test_progress_is_put_in_words_that_change_with_what_moves_alone(tmp_path: Path, written: bytes, words: str) -> None:
    path = tmp_path / "progress.jsonl"
    lines = ProgressFile(path, lambda _: None)
    path.write_bytes(written)
    assert (lines.read(), lines.read()) == (words, words)


def test_progress_is_logged_by_phase_and_by_hundredths_not_by_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[Any, Any, Any]] = []
    monkeypatch.setattr(
        "trainer_trigger.training.candidate.log.info",
        lambda _, **fields: logged.append((fields["phase"], fields["step"], fields["left_s"])),
    )
    follow = ProgressLog()
    for phase, step in [("reading", 0), ("reading", 0), ("training", 1), ("training", 2), ("training", 3)]:
        follow({"phase": phase, "step": step, "steps": 200, "loss": 1.0, "left_s": 9.5})
    follow({"phase": "odd", "step": "many", "steps": None})
    assert logged == [("reading", 0, 9.5), ("training", 1, 9.5), ("training", 3, 9.5), ("odd", 0, None)]
