"""The services' clock, which can jump: a library loaded before theirs adds what a file says to the time of day.

What measures durations (the monotonic clock) goes on as it did: no machine's jumps.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

TRIED_S = 7_200


@cache
def find_library() -> Path | None:
    """Return the library that moves the clock; None where there is none, or this machine cannot load it."""
    spec = find_spec("libfaketime")
    places = spec.submodule_search_locations if spec else None
    for library in Path(places[0]).rglob("libfaketime.so.1") if places else ():
        moved = {"LD_PRELOAD": str(library), "FAKETIME": f"+{TRIED_S}"}
        told = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env=os.environ | moved,
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode == 0 and float(told.stdout) > time.time() + TRIED_S / 2:
            return library
    return None


def movable(file: Path) -> Mapping[str, str]:
    """Return what a process needs in its environment for its clock to follow a file; nothing where it cannot."""
    library = find_library()
    if library is None:
        return {}
    jump(file, 0)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def jump(file: Path, by_s: int) -> None:
    """Let the clock be so far from the right time; negative is behind it."""
    written = file.with_suffix(".new")
    written.write_text(f"{by_s:+d}\n")
    written.replace(file)
