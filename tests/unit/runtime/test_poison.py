"""Records that a broker takes and that once stopped a consumer: each becomes a dead letter that can be written."""

import pytest

from roadloop_runtime.dead_letter import read_explanation, to_dead_letter
from roadloop_runtime.decode import make_decoder
from roadloop_runtime.outcome import DeadLetter, LoopReason, Undecodable
from roadloop_schemas.policies import ScreenPolicy
from tests.builders import make_event, make_record, read_back

GOOD = make_event(ScreenPolicy(version=1, threshold=0.5))


@pytest.mark.parametrize("timestamp", [-124271193600000, 2**62, -(2**62)], ids=["year-minus-1968", "far", "long-ago"])
def test_a_timestamp_that_is_no_date_is_a_dead_letter(timestamp: int) -> None:
    with pytest.raises(Undecodable) as caught:
        make_decoder(ScreenPolicy)(make_record(GOOD.value, headers=GOOD.headers, written_at_ms=timestamp))
    assert (caught.value.dead_letter.reason, caught.value.dead_letter.field) == (LoopReason.UNDECODABLE, "timestamp")


def test_a_detail_with_a_lone_surrogate_can_be_written() -> None:
    dead_letter = DeadLetter(LoopReason.UNDECODABLE, detail="kid \ud800")
    assert read_explanation(to_dead_letter("g", read_back(GOOD), dead_letter).headers)["message"] == "kid \\ud800"
