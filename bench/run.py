"""Run the measurements: `python bench/run.py [NAME ...] [--rounds N]`."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from calm import measure as calm
from cli import measure as cli
from cuda import measure as cuda
from history import measure as history
from learning import measure as learning
from loop import measure as loop
from memory import measure as memory
from peers import measure as peers
from recovery import measure as recovery
from screening import measure as screening

NEEDS_GPU = {"cuda"}
BUILD = Path(__file__).resolve().parents[1] / "build" / "bench"
MEASUREMENTS = {
    "calm": calm,
    "cli": cli,
    "cuda": cuda,
    "history": history,
    "learning": learning,
    "loop": loop,
    "memory": memory,
    "peers": peers,
    "recovery": recovery,
    "screen": screening,
}


def main(arguments: list[str]) -> None:
    """Run what is asked for, or all that needs no GPU; write a JSON file each."""
    parser = argparse.ArgumentParser(description="Measure, and write build/bench/NAME.json.")
    parser.add_argument(
        "only", nargs="*", choices=[[], *MEASUREMENTS], help="what to measure; left out: all that needs no GPU"
    )
    parser.add_argument("--records", type=int, default=198_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=50, help="peers: how often each program is killed")
    parser.add_argument("--minutes", type=float, default=10, help="recovery: how long the model server is away")
    parser.add_argument("--seeds", type=int, default=10, choices=range(1, 11), help="learning: how many days")
    parser.add_argument("--freeze", action="store_true", help="learning: freeze the streams as they are now")
    parser.add_argument("--frames", type=int, default=200_000, help="screen: frames over which memory has to be flat")
    options = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in options.only or sorted(MEASUREMENTS.keys() - NEEDS_GPU):
        module = MEASUREMENTS[name]
        result = module.measure(options, partial(print, flush=True))
        (BUILD / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(f"\n{module.make_table(result)}\n\nwritten: build/bench/{name}.json")


if __name__ == "__main__":
    main(sys.argv[1:])
