"""Run the measurements: `python bench/run.py [loop] [--records N] [--rounds N]`."""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from loop import measure as loop

BUILD = Path(__file__).resolve().parents[1] / "build" / "bench"
MEASUREMENTS = {"loop": loop}


def main(arguments: list[str]) -> None:
    """Run what is asked for, or everything; write a JSON file each."""
    parser = argparse.ArgumentParser(description="Measure, and write build/bench/NAME.json.")
    parser.add_argument(
        "only", nargs="*", choices=[[], *MEASUREMENTS], help="what to measure; everything where left out"
    )
    parser.add_argument("--records", type=int, default=198_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in chosen.only or MEASUREMENTS:
        module = MEASUREMENTS[name]
        result = module.measure(chosen.records, chosen.rounds, partial(print, flush=True))
        (BUILD / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(f"\n{module.table(result)}\n\nwritten: build/bench/{name}.json")


if __name__ == "__main__":
    main(sys.argv[1:])
