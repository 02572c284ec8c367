"""What the measured programs have in common: their job, and the meter that says what it cost."""

import gc
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PARTITIONS = 6
BATCH = 1_000
MAX_BATCH_BYTES = 256 * 1024


@dataclass(frozen=True)
class Job:
    """Copy `records` records from `source` to `target`, on one core; leave what it cost in `report`."""

    mode: str
    bootstrap: str
    source: str
    target: str
    records: int
    seconds: float
    core: int
    report: str = ""


AnyJob = TypeVar("AnyJob", bound=Job)


def take_job(kind: type[AnyJob]) -> AnyJob:
    """Read the job from the command line and move to its core."""
    job = kind(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, {job.core})
    return job


class Meter:
    """Measures from the moment the program owns its partitions to its last commit."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._began: tuple[float, float] | None = None

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the start; 0 before it."""
        return time.monotonic() - self._began[0] if self._began else 0.0

    def start(self) -> None:
        """Start; the first call counts. Every program is spared the garbage collection that the loop spares itself."""
        if self._began is None:
            gc.collect()
            gc.freeze()
            self._began = (time.monotonic(), _measure_cpu_s())

    def stop(self, records: int, commits: int = 0) -> None:
        """Write the report. `commits` is the number of transactions or offset commits, where the program knows it."""
        if self._began is None:
            raise RuntimeError("the meter was never started")
        wall_s, cpu_s = time.monotonic() - self._began[0], _measure_cpu_s() - self._began[1]
        report = {
            "records": records,
            "commits": commits,
            "wall_s": wall_s,
            "records_per_s": records / wall_s,
            "cpu_us_per_record": cpu_s / records * 1e6,
            "start_cpu_s": self._began[1],
            "rss_mib": _read_peak_rss_kib() / 1024,
        }
        Path(self._job.report).write_text(json.dumps(report))


def _measure_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _read_peak_rss_kib() -> int:
    """Return the peak since this program began; `ru_maxrss` would count its parent's, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
