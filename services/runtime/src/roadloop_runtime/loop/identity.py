"""A process of a fleet: its identity, and how it ends."""

import time
from dataclasses import dataclass

EXIT_RESTART = 1
EXIT_STAY_ENDED = 78


@dataclass(frozen=True)
class Identity:
    """Who a process is in its consumer groups. `member` outlives restarts, `started_at_ms` does not."""

    member: str
    started_at_ms: int

    @property
    def client_id(self) -> str:
        return f"{self.member}@{self.started_at_ms}"


def make_identity(member: str) -> Identity:
    return Identity(member, time.time_ns() // 1_000_000)


class Superseded(Exception):
    """A younger process has my member id: I must end, and must not be restarted."""
