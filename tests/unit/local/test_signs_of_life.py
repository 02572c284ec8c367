"""A program that is slow but gets on is waited for; one that stands still is not, and the reason says so."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from roadloop_local import health
from roadloop_local.errors import NotReadyError, StackError
from roadloop_local.layout import Layout
from roadloop_local.supervision import supervisord_client
from roadloop_local.supervision.signs_of_life import Patience, Signs, list_family, read_signs
from roadloop_local.supervision.supervisord_client import ProgramState

PATIENCE_S = 100.0
FIRST = Signs(("STARTING", 7, "refused"), log_bytes=10, read_bytes=0, work_s=1.0)


def given_up(signs_at: Callable[[int], Signs], *, every_s: int = 1, for_s: int = 10_000) -> tuple[int, str] | None:
    """Look at a program on a clock of its own; return when it was given up, and why."""
    patience = Patience(PATIENCE_S, 0.0)
    looks = ((now, patience.look(signs_at(now), now)) for now in range(0, for_s, every_s))
    return next(((now, verdict) for now, verdict in looks if verdict), None)


@pytest.mark.parametrize(
    "signs_at",
    [
        pytest.param(lambda now: replace(FIRST, log_bytes=now // 99), id="its log grows by a byte every 99 s"),
        pytest.param(lambda now: replace(FIRST, read_bytes=4096 * (now // 99)), id="it reads from a slow disk"),
        pytest.param(lambda now: replace(FIRST, work_s=now * 0.04), id="it works, for 4 % of the time"),
        pytest.param(lambda now: replace(FIRST, reports=("STARTING", now // 99, "refused")), id="it is started again"),
        pytest.param(lambda now: replace(FIRST, reports=("RUNNING", 7, now // 99)), id="its reason changes"),
    ],
)
def test_a_program_that_moves_is_waited_for(signs_at: Callable[[int], Signs]) -> None:
    assert given_up(signs_at, for_s=1_990) is None


@pytest.mark.parametrize(
    ("signs_at", "at"),
    [
        pytest.param(lambda _: FIRST, 100, id="nothing at all moves"),
        pytest.param(lambda now: replace(FIRST, log_bytes=min(now, 50)), 150, id="its log ended after 50 s"),
        pytest.param(lambda now: replace(FIRST, work_s=1 + now * 0.015), 100, id="it only says that it is not ready"),
    ],
)
def test_a_program_that_stands_still_is_given_up(signs_at: Callable[[int], Signs], at: int) -> None:
    assert given_up(signs_at) == (at, "nothing has moved for 100 s")


def test_a_program_that_moves_for_ever_and_gets_nowhere_is_given_up_in_the_end() -> None:
    assert given_up(lambda now: replace(FIRST, work_s=now)) == (2_000, "it moves, but 2000 s were not enough")


def test_who_could_not_look_for_an_hour_does_not_know_that_nothing_moved() -> None:
    assert given_up(lambda _: FIRST, every_s=3_600, for_s=19 * 3_600) is None


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process whose only child works."""
    child = "import time\nwhile True: pass"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        parent = psutil.Process(process.pid)
        yield parent
        for member in list_family(parent):
            member.kill()


def test_the_work_of_a_child_counts(worker: psutil.Process, tmp_path: Path) -> None:
    while len(list_family(worker)) < 2:
        assert worker.is_running()
    first = read_signs([worker], tmp_path / "log", "RUNNING")
    while read_signs([worker], tmp_path / "log", "RUNNING").work_s < first.work_s + 0.1:
        assert worker.is_running()


def test_who_is_gone_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("its last word")
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        gone = psutil.Process(process.pid)
    assert read_signs([gone], tmp_path / "log", "EXITED") == Signs(("EXITED",), log_bytes=13)


# --- a program that is waited for ----------------------------------------------------------------------------------


def wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], states: list[ProgramState], **changes: float
) -> list[str]:
    """Wait for a program that gives these answers ("" is that it is ready) in these states; return what was told."""
    said: list[str] = []
    layout = Layout(tmp_path, "tag", {}, {})
    layout.log("triton").parent.mkdir()
    layout.log("triton").write_text("a first line\na last line\n")

    async def check(_layout: Layout, _name: str) -> None:
        if reason := answers.pop(0) if len(answers) > 1 else answers[0]:
            raise NotReadyError(reason)

    def read_states(_layout: Layout) -> dict[str, ProgramState]:
        return {"triton": states.pop(0) if len(states) > 1 else states[0]}

    monkeypatch.setattr(health, "check", check)
    monkeypatch.setattr(supervisord_client, "read_states", read_states)
    monkeypatch.setattr(health, "ASK_EVERY_S", 0.01)
    for name, value in changes.items():
        monkeypatch.setattr(health, name, value)
    asyncio.run(health.wait_until_all_ready(layout, ["triton"], 0.2, said.append))
    return said


WAITS = ProgramState("RUNNING", None, 1)


def test_what_is_waited_for_is_told_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = wait(tmp_path, monkeypatch, ["refused", ""], [WAITS], TELL_EVERY_S=0)
    assert [line.partition(" after ")[0] for line in told[:-1]] == ["still waiting for triton"]
    assert told[0].endswith("(refused)")
    assert told[-1].startswith("triton is ready")


def test_a_program_that_gave_up_is_given_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        StackError, match=r"a last line\ntriton stopped by itself \(fatal\): read .*triton\.log, mend it"
    ):
        wait(tmp_path, monkeypatch, ["refused"], [WAITS, ProgramState("FATAL", None, 0, given_up=True)])


def test_a_program_without_a_sign_of_life_is_given_up_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = r"a last line\ntriton is not ready and nothing has moved for 0 s \(refused\): read .*triton\.log, mend it"
    with pytest.raises(StackError, match=said):
        wait(tmp_path, monkeypatch, ["refused"], [WAITS])
