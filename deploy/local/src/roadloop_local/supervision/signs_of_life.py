"""Signs of life: what tells a program that is slow from one that hangs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from roadloop_runtime.standstill import Standstill

PATIENCE_S = 120.0
# A service that waits for something uses 1 to 2 % of a processor, much of it for telling us that it is not ready.
WORKING_SHARE = 0.03
LONGEST = 20  # times the patience, for what moves and gets nowhere


@dataclass(frozen=True)
class Signs:
    """What changes while a program gets on: what is said of it, its log, what it read from the disk, its work.

    `work_s`: the seconds in which its processes were at work, or would have been, had the machine had time for them.
    """

    reports: Sequence[object] = ()
    log_bytes: int = 0
    read_bytes: int = 0
    work_s: float = 0.0


class Patience:
    """Wait for what moves, however slow it is, and give up what stands still.

    Nothing is for ever: what moves is given up after 20 times the patience.
    """

    def __init__(self, patience_s: float, now: float) -> None:
        self.patience_s = patience_s
        self._standstill = Standstill(None, now)
        self._whole = Standstill(None, now)

    def look(self, signs: Signs, now: float) -> str:
        """Take note of the signs of life at a moment; return why to wait no longer, nothing while there is hope."""
        step_s = self.patience_s * WORKING_SHARE
        steps = replace(signs, work_s=signs.work_s // step_s if step_s else 0.0)
        stood_s, waited_s = self._standstill.look(steps, now), self._whole.look(None, now)
        if stood_s >= self.patience_s:
            return f"nothing has moved for {self.patience_s:.0f} s"
        if waited_s >= LONGEST * self.patience_s:
            return f"it moves, but {LONGEST * self.patience_s:.0f} s were not enough"
        return ""


def read_signs(processes: Iterable[psutil.Process], log: Path, *reports: object) -> Signs:
    """Look at processes and the log that they write; those that are gone count for nothing."""
    families = [member for process in processes for member in list_family(process)]
    read_bytes = sum(map(read_disk_bytes, families))
    return Signs(reports, log.stat().st_size if log.exists() else 0, read_bytes, sum(map(measure_work_s, families)))


def list_family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all its children, nobody where it is gone."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def measure_work_s(process: psutil.Process) -> float:
    """Return for how long a process ran on a processor or waited for one."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system) + sum(map(read_waited_s, Path(f"/proc/{process.pid}/task").glob("*")))


def read_waited_s(thread: Path) -> float:
    """Return for how long a thread was ready to run and did not; 0 where the kernel does not tell."""
    try:
        return int((thread / "schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def read_disk_bytes(process: psutil.Process) -> int:
    """Return what a process read from the disk, which may be slow; 0 where only its owner may know."""
    try:
        return int(process.io_counters().read_bytes)
    except (psutil.Error, OSError):
        return 0
