"""One program under a supervisor that starts it again whenever it ends, as a cluster would."""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

from loop.turns import REPOSITORY, Program, make_environment
from peers.work import Task

BEGINS_WITHIN_S = 60.0


class Supervised:
    """A program that runs until it is stopped. `ends` counts how often it ended of itself."""

    def __init__(self, program: Program, task: Task, folder: Path) -> None:
        self.ends = 0
        self._program = program
        self._task = replace(task, begun=str(folder / "begun"), report=str(folder / "report.json"))
        self._log = folder / "log"
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        Path(self._task.begun).unlink(missing_ok=True)
        command = [self._program.python, "-m", self._program.module, json.dumps(asdict(self._task))]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, cwd=REPOSITORY, env=make_environment(), stdout=log, stderr=log)

    async def watch(self) -> None:
        """Start it again whenever it ends of itself."""
        while True:
            if self._process.poll() is not None:
                self.ends += 1
                await asyncio.sleep(0.5)  # no supervisor starts a program again at once
                self._process = self._start()
            await asyncio.sleep(0.02)

    async def wait_until_begun(self) -> bool:
        """Wait until it has its first record since its start; False where that takes too long."""
        until = time.monotonic() + BEGINS_WITHIN_S
        while not self._has_begun():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.002)
        return True

    def _has_begun(self) -> bool:
        return Path(self._task.begun).exists()

    def kill(self) -> None:
        """Kill it and start it again."""
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def end(self) -> None:
        """Ask it to stop, and kill it where it does not."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@asynccontextmanager
async def supervise(program: Program, task: Task) -> AsyncIterator[Supervised]:
    """Run a program until the block ends."""
    with tempfile.TemporaryDirectory(prefix="roadloop-bench-") as folder:
        supervised = Supervised(program, task, Path(folder))
        watch_task = asyncio.create_task(supervised.watch())
        try:
            yield supervised
        finally:
            watch_task.cancel()
            supervised.end()
