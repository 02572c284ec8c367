"""Twenty senders' records in a row that never will work stop a worker; one sender's garbage does not."""

import pytest

from roadloop_runtime.loop.dead_letter_limit import DeadLetterLimit, TooManyDeadLetters
from roadloop_runtime.outcome import DeadLetter, LoopReason

LETTER = DeadLetter(LoopReason.UNDECODABLE, "no JSON")


def test_the_twentieth_sender_in_a_row_ends_the_worker_and_the_error_says_what_was_last() -> None:
    streak = DeadLetterLimit()
    for sender in range(19):
        streak.add(str(sender).encode(), LETTER)
    with pytest.raises(TooManyDeadLetters, match=r"20 senders.*undecodable: no JSON"):
        streak.add(b"19", LETTER)


@pytest.mark.parametrize("sender", [pytest.param(b"v-1", id="a-key"), pytest.param(None, id="no-key")])
def test_one_sender_may_fail_without_end(sender: bytes | None) -> None:
    streak = DeadLetterLimit()
    for _ in range(1_000):
        streak.add(sender, LETTER)


def test_one_good_record_begins_the_count_anew() -> None:
    streak = DeadLetterLimit()
    for first in range(0, 190, 19):
        for sender in range(first, first + 19):
            streak.add(str(sender).encode(), LETTER)
        streak.reset()
