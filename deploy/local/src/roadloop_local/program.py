"""What the supervisor has to know about a process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Signal = Literal["TERM", "INT", "KILL"]


@dataclass(frozen=True)
class Program:
    """A command to keep running.

    `settle_s`: an exit sooner than this after the start counts as a failed start (a few tries, then given up);
    0 means that every unexpected exit is followed by a new start.
    `stop_s`: how long a stop may take before the whole process group is killed.
    `death_signal`: what the process gets when the supervisor dies.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    settle_s: int = 1
    stop_s: int = 15
    stop_signal: Signal = "TERM"
    death_signal: Signal = "TERM"
