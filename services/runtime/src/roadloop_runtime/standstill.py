"""Tell what is slow from what hangs: not by how long it takes, but by whether anything moves."""

LONGEST_LOOK_S = 5.0


class Standstill:
    """For how long a sign of life has been the same.

    The time between two looks counts for at most `longest_look_s`: whoever was not able to look, on a busy machine or
    one that slept, does not know that nothing moved meanwhile.
    """

    def __init__(self, sign: object, now: float, *, longest_look_s: float = LONGEST_LOOK_S) -> None:
        self.last = sign
        self.seconds = 0.0
        self._looked_at = now
        self._longest_look_s = longest_look_s

    def look(self, sign: object, now: float) -> float:
        """Take note of the sign at a moment of a monotonic clock; return for how many seconds it has not changed."""
        self.seconds += min(now - self._looked_at, self._longest_look_s)
        if sign != self.last:
            self.last, self.seconds = sign, 0.0
        self._looked_at = now
        return self.seconds
