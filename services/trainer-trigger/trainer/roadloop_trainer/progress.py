"""Tell a run's watcher every second how far it is, even while a compiler is busy."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread

INTERVAL_S = 1.0


@dataclass(slots=True)
class Progress:
    """Where the run is; written to `progress.jsonl` as it stands."""

    phase: str
    step: int
    steps: int
    loss: float | None
    seconds: float = 0.0


@contextmanager
def told(path: Path, steps: int) -> Iterator[Progress]:
    """Append a line a second to `path` until the block ends, and one last line then."""
    progress, over, started = Progress("reading", 0, steps, None), Event(), time.monotonic()

    def tell() -> None:
        progress.seconds = round(time.monotonic() - started, 2)
        with path.open("a") as lines:
            lines.write(json.dumps(asdict(progress)) + "\n")

    def keep_telling() -> None:
        while not over.wait(INTERVAL_S):
            tell()

    teller = Thread(target=keep_telling, daemon=True)
    tell()
    teller.start()
    try:
        yield progress
    finally:
        over.set()
        teller.join()
        tell()
