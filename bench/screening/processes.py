"""Which cores processes run on, and what they use: a process with all its descendants and threads."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil

Cores = Iterable[int]
Processes = Mapping[str, int]
"""Process ids by name; each stands for its descendants, too."""


def pin(pid: int, cores: Cores) -> None:
    """Move every thread of a process and of its descendants; what they start later inherits it."""
    wanted = set(cores)
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, wanted)


def cpu_s(processes: Processes) -> Mapping[str, float]:
    """Return the CPU seconds that each has used, user and system, and those of this process without descendants."""
    used = {name: sum(map(_cpu_s, _family(pid))) for name, pid in processes.items()}
    return used | {"measuring": _cpu_s(psutil.Process())}


def rss_mib(pid: int) -> float:
    """Return a process's resident memory without that of its descendants."""
    return psutil.Process(pid).memory_info().rss / 2**20


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        used = process.cpu_times()
        return float(used.user + used.system)
    return 0.0
