"""Records that a broker takes and that once stopped a consumer: each becomes a dead letter that can be written."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from roadloop_runtime.dead_letter import read_explanation, to_dead_letter
from roadloop_runtime.decode import make_decoder
from roadloop_runtime.outcome import DeadLetter, LoopReason, Undecodable
from roadloop_schemas.cloudevents import Attributes, Header, to_headers
from roadloop_schemas.policies import ScreenPolicy

GOOD = ScreenPolicy(version=1, threshold=0.5).model_dump_json().encode()
HEADERS = to_headers(Attributes("id", "/source", "type", "demo"))


@dataclass(frozen=True)
class Read:
    timestamp: int = 0
    value: bytes | None = GOOD
    headers: Sequence[Header] = HEADERS
    topic: str = "screen.policy.v1"
    partition: int = 0
    offset: int = 0
    key: bytes | None = b"k"


@pytest.mark.parametrize("timestamp", [-124271193600000, 2**62, -(2**62)], ids=["year-minus-1968", "far", "long-ago"])
def test_a_timestamp_that_is_no_date_is_a_dead_letter(timestamp: int) -> None:
    with pytest.raises(Undecodable) as caught:
        make_decoder(ScreenPolicy)(Read(timestamp=timestamp))
    assert (caught.value.dead_letter.reason, caught.value.dead_letter.field) == (LoopReason.UNDECODABLE, "timestamp")


def test_a_detail_with_a_lone_surrogate_can_be_written() -> None:
    dead_letter = DeadLetter(LoopReason.UNDECODABLE, detail="kid \ud800")
    assert read_explanation(to_dead_letter("g", Read(), dead_letter).headers)["message"] == "kid \\ud800"
