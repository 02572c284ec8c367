"""What every program does with a record: decode it, and call a stub that takes its time and fails now and then."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

from loop.client import Job, Meter, take_job
from loop.seen import FrameSeen

FOR_EVER = 10**12


@dataclass(frozen=True)
class Task(Job):
    """A job whose records wait `wait_s` for a stub; of its calls a share of `failing` raises.

    At the first record the file `begun` is made. Up to `concurrency` calls run at once, where the program can do that.
    """

    wait_s: float = 0.0
    failing: float = 0.0
    concurrency: int = 500
    begun: str = ""


class StubFailed(Exception):
    """The stub did not answer this time."""


class Work:
    """Decodes, calls and counts. `over` is set once the job's records are copied, or its seconds have passed."""

    def __init__(self, task: Task) -> None:
        self.over = False
        self._task = task
        self._meter = Meter(task)
        self._copied = 0
        self._has_begun = False

    def decode(self, value: bytes) -> FrameSeen:
        """Decode a record; the first one starts the meter."""
        if not self._has_begun:
            self.begin()
        return FrameSeen.model_validate_json(value)

    def begin(self) -> None:
        """Start the meter, for a program that decodes by its framework's means."""
        if not self._has_begun:
            self._has_begun = True
            self._meter.start()
            if self._task.begun:
                Path(self._task.begun).touch()

    async def call(self) -> None:
        """Wait for the stub; raises StubFailed."""
        if self._task.wait_s:
            await asyncio.sleep(self._task.wait_s)
            self._fail_now_and_then()

    def call_blocking(self) -> None:
        """Wait for the stub in a program that cannot do anything else meanwhile; raises StubFailed."""
        if self._task.wait_s:
            time.sleep(self._task.wait_s)
            self._fail_now_and_then()

    def count(self, copied: int) -> None:
        """Add copies that are written."""
        self._copied += copied
        long_enough = self._meter.elapsed_s > self._task.seconds
        if not self.over and (self._copied >= self._task.records or long_enough):
            self.over = True
            self._meter.stop(self._copied)

    def _fail_now_and_then(self) -> None:
        if random.random() < self._task.failing:
            raise StubFailed("the stub did not answer")


def take_task() -> Task:
    """Read the task from the command line and move to its core."""
    return take_job(Task)
