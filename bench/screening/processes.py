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
    core_set = set(cores)
    for process in _list_family(pid):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, core_set)


def measure_cpu_s(processes: Processes) -> Mapping[str, float]:
    """Return the CPU seconds that each has used, user and system, and those of this process without descendants."""
    used = {name: sum(map(_measure_cpu_s, _list_family(pid))) for name, pid in processes.items()}
    return used | {"measuring": _measure_cpu_s(psutil.Process())}


def measure_rss_mib(pid: int) -> float:
    """Return a process's resident memory without that of its descendants."""
    return psutil.Process(pid).memory_info().rss / 2**20


def _list_family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _measure_cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
