"""What does a command of `roadloop` cost before it does anything? Beside the bare libraries that it is made with."""

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from roadloop_local import stack

Report = Callable[[str], None]
BARE = "import typer, rich"
COMMANDS: Mapping[str, Sequence[str]] = {
    "--help": ("--help",),
    "env": ("env", "ingest"),
    "policies set --help": ("policies", "set", "--help"),
    "annotators enrol --help": ("annotators", "enrol", "--help"),
    "models list --help": ("models", "list", "--help"),
    "what-if --help": ("what-if", "--help"),
}
LIMITS = {"--help": (3.0, 2.0), "env": (3.0, 2.0)}  # CPU, memory; the others pay for what they use


class Cost(NamedTuple):
    """What one run of a program took."""

    cpu_s: float
    memory_mib: float


# A child counts the memory of whoever forked it, so a small program does that.
LAUNCHER = """
import os, sys
nowhere = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", 1, 0)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=nowhere)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def measure_cost(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a program to its end, and ask the kernel what it took."""
    launched = (sys.executable, "-I", "-S", "-c", LAUNCHER, *command)
    completed = subprocess.run(launched, env=environment, capture_output=True, text=True, check=True)
    code, cpu_s, memory_mib = completed.stdout.split()
    if int(code):
        raise RuntimeError(f"{' '.join(command)} ended with {code}: {completed.stderr}")
    return Cost(float(cpu_s), float(memory_mib))


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Run every command and the bare libraries in turns; return the medians."""
    roadloop = str(Path(sys.executable).with_name("roadloop"))
    programs: dict[str, Sequence[str]] = {"bare": (sys.executable, "-c", BARE)}
    programs |= {name: (roadloop, *arguments) for name, arguments in COMMANDS.items()}
    runs: dict[str, list[Cost]] = {name: [] for name in programs}
    with TemporaryDirectory() as folder:
        stack.settle(Path(folder))
        environment = {**os.environ, "ROADLOOP_DATA": folder}
        for number in range(max(options.rounds, 5)):
            for name, program in programs.items():
                runs[name].append(measure_cost(program, environment))
            report(f"round {number + 1}: --help {runs['--help'][-1].cpu_s:.3f} s, bare {runs['bare'][-1].cpu_s:.3f} s")
    figures = {name: Cost(*map(median, zip(*costs, strict=True))) for name, costs in runs.items()}
    bare = figures["bare"]
    ratio = {
        name: {"cpu": round(cost.cpu_s / bare.cpu_s, 2), "memory": round(cost.memory_mib / bare.memory_mib, 2)}
        for name, cost in figures.items()
    }
    return {"figures": {name: cost._asdict() for name, cost in figures.items()}, "ratio": ratio, "limits": LIMITS}


def make_table(result: Mapping[str, Any]) -> str:
    """Return what a person reads."""
    rows = ["| command | CPU s | x bare | MiB | x bare | limits |", "|---|---:|---:|---:|---:|---|"]
    for name, cost in result["figures"].items():
        ratio, limits = result["ratio"][name], LIMITS.get(name)
        met = limits is None or (ratio["cpu"] <= limits[0] and ratio["memory"] <= limits[1])
        limits_text = "" if limits is None else f"{limits[0]:g}, {limits[1]:g}{'' if met else ' MISSED'}"
        shown = f"{cost['cpu_s']:.3f} | {ratio['cpu']:.2f} | {cost['memory_mib']:.0f} | {ratio['memory']:.2f}"
        rows.append(f"| {name} | {shown} | {limits_text} |")
    return "\n".join(rows)
