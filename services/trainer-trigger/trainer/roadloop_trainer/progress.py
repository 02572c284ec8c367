"""Tell a run's watcher how far it is, as often as something has moved and at most once a second."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread

INTERVAL_S = 1.0


@dataclass(slots=True)
class Progress:
    """Where the run is. `left_s` is how long the steps that are left will take, at the pace since the first one."""

    phase: str
    step: int
    steps: int
    loss: float | None
    frames: int = 0  # read so far
    left_s: float | None = None
    _first_ended: float = field(default=0.0, repr=False)

    def after_step(self, step: int, loss: float, now: float) -> None:
        """Take note of a step that ended at a moment of a clock; the first one compiles, so it tells no pace."""
        self.phase, self.step, self.loss = "training", step, round(loss, 5)
        if step == 1:
            self._first_ended = now
        else:
            self.left_s = round((now - self._first_ended) / (step - 1) * (self.steps - step), 1)

    def line(self) -> dict[str, object]:
        """Return what is written."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}


@contextmanager
def write_progress(path: Path, steps: int) -> Iterator[Progress]:
    """Append a line to `path` when something has moved, until the block ends, and one last line then.

    What stands still writes nothing: whoever watches can tell a slow run from one that hangs.
    """
    progress, ended, started = Progress("reading", 0, steps, None), Event(), time.monotonic()

    def write(last_line: dict[str, object]) -> dict[str, object]:
        line = progress.line()
        if line != last_line:
            with path.open("a") as lines:
                lines.write(json.dumps(line | {"seconds": round(time.monotonic() - started, 2)}) + "\n")
        return line

    def keep_writing() -> None:
        last: dict[str, object] = {}
        while not ended.wait(INTERVAL_S):
            last = write(last)

    writer = Thread(target=keep_writing, daemon=True)
    write({})
    writer.start()
    try:
        yield progress
    finally:
        ended.set()
        writer.join()
        write({})
