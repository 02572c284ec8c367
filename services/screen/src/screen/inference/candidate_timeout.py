"""How long a version that is only tried may take for a picture, and what is made of it where it fails. Pure.

What is only tried may not keep a unit for long. How long that is goes by what serves: a slow machine slows both.
"""

from roadloop_runtime.outcome import Transient
from roadloop_schemas.frames import VerdictReason
from screen.vision.detections import Unjudged

CANDIDATE_WAITS_S = 3.0
CANDIDATE_SLOWER_AT_MOST = 5.0  # times what the serving models took for the same picture

NOT_TRIED = Unjudged(VerdictReason.REFUSED_BY_MODEL, "the model server was busy")


def allow_s(took_s: float) -> float:
    """Return how long a version may take in all where the serving models took `took_s`."""
    return max(CANDIDATE_WAITS_S, CANDIDATE_SLOWER_AT_MOST * took_s)


def describe_failure(error: Exception) -> Unjudged:
    """Return what a version that is only tried has made of a frame where it failed.

    That the server was busy, or a process of it has died, is not its fault, and says nothing (`NOT_TRIED`).
    """
    if isinstance(error, Transient) and error.busy:
        return NOT_TRIED
    slower = f"{CANDIDATE_SLOWER_AT_MOST:.0f} times what the serving version took, and {CANDIDATE_WAITS_S:.0f} s"
    detail = str(error) or f"no answer within {slower}"
    return Unjudged(VerdictReason.REFUSED_BY_MODEL, detail[:500])
