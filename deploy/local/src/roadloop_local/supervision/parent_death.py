"""Start a program that dies with its supervisor.

A supervisor that is killed cannot stop its programs, so the kernel does it: the death signal is set before
the program replaces this process.
"""

import argparse
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Read the options, tie this process to its parent and become the program."""
    parser = argparse.ArgumentParser(prog="python -m roadloop_local.supervision.parent_death")
    parser.add_argument("--signal", default="TERM", help="what to get when the parent dies")
    parser.add_argument("--parent", type=Path, required=True, help="file with the parent's process id")
    parser.add_argument("--environment", type=Path, required=True, help="JSON file of variables to add")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    die_with_parent(signal.Signals[f"SIG{options.signal}"], int(options.parent.read_text()))
    environment = os.environ | json.loads(options.environment.read_text())
    os.execvpe(options.command[0], options.command, environment)  # noqa: S606 no shell is meant


def die_with_parent(death_signal: signal.Signals, parent: int) -> None:
    """Ask the kernel for `death_signal` at the parent's death; leave at once where it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")


if __name__ == "__main__":
    main()
