"""A bad record is not an outage; twenty in a row from twenty senders are."""

from roadloop_runtime.outcome import DeadLetter

SENDERS = 20


class TooManyDeadLetters(Exception):
    """Every sender fails: the fault is ours or a dependency's. Ends the process with the offset uncommitted."""


class DeadLetterLimit:
    """Counts dead letters in a row in one worker, by sender."""

    def __init__(self) -> None:
        self._senders: set[bytes | None] = set()

    def add(self, sender: bytes | None, dead_letter: DeadLetter) -> None:
        """Count one; raises TooManyDeadLetters at the twentieth sender in a row."""
        self._senders.add(sender)
        if len(self._senders) >= SENDERS:
            last = f"{dead_letter.reason}: {dead_letter.detail}"
            raise TooManyDeadLetters(f"{SENDERS} senders' records in a row never will work, the last one: {last}")

    def reset(self) -> None:
        if self._senders:
            self._senders.clear()
