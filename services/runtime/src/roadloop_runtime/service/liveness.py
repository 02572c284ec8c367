"""When a process is to be ended and started anew, as `/livez` says to an orchestrator."""

from roadloop_runtime.loop.loop import Loop

STUCK_S = 60.0


def is_stuck(loop: Loop, now: float) -> bool:
    """Say whether a loop hangs: it is in its group, and did not turn for a minute, whether or not Kafka answers."""
    return loop.joined and now - loop.turned_at > STUCK_S
