"""What it costs to move an offset is said before it is done."""

import pytest

from roadloop_runtime.broker import Log
from roadloop_runtime.offsets.plan_reset import NoSuchOffset, Target, plan_gap, plan_reset
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Settled

PARTITION, LOG = Partition("in.v1", 2), Log("now", 10, 20)


@pytest.mark.parametrize(
    ("settled", "target", "offset", "sentence"),
    [
        pytest.param(
            Settled(15, "now"),
            "start",
            10,
            "in.v1/2: 15 -> 10: 5 are read again, and what follows from them is decided again",
            id="back to the start",
        ),
        pytest.param(Settled(15, "now"), "end", 20, "in.v1/2: 15 -> 20: 5 are never read", id="on to the end"),
        pytest.param(
            Settled(15, "now"),
            15,
            15,
            "in.v1/2: 15 -> 15: nothing is read again, nothing is lost",
            id="where it is",
        ),
        pytest.param(Settled(7), "start", 10, "in.v1/2: 7 -> 10: 3 are never read", id="behind a gap"),
        pytest.param(
            Settled(25, "now"),
            "end",
            20,
            "in.v1/2: 25 -> 20: nothing is read again, nothing is lost",
            id="log cut short",
        ),
        pytest.param(
            Settled(15, "then"),
            "start",
            10,
            "in.v1/2: 15 -> 10: what was unread in the log of before is lost",
            id="a topic that was made again",
        ),
        pytest.param(
            Settled(None), "end", 20, "in.v1/2: nothing settled -> 20: 10 are never read", id="nothing settled yet"
        ),
    ],
)
def test_what_a_move_costs(settled: Settled, target: Target, offset: int, sentence: str) -> None:
    reset = plan_reset(PARTITION, settled, LOG, target)
    assert (reset.new, str(reset)) == (Settled(offset, "now"), sentence)


@pytest.mark.parametrize("target", [9, 21])
def test_an_offset_outside_of_the_log_is_refused(target: int) -> None:
    with pytest.raises(NoSuchOffset, match=rf"in.v1/2 has offsets 10 to 20, not {target}: say one of those"):
        plan_reset(PARTITION, Settled(15, "now"), LOG, target)


@pytest.mark.parametrize(
    ("settled", "has_gap"),
    [
        pytest.param(Settled(7, "now"), True, id="expired unread"),
        pytest.param(Settled(7), True, id="expired unread, from before ids were kept"),
        pytest.param(Settled(10, "now"), False, id="at the start"),
        pytest.param(Settled(None), False, id="nothing settled"),
        pytest.param(Settled(7, "then"), False, id="of another log: that is no gap to accept"),
    ],
)
def test_a_gap_is_what_expired_unread(settled: Settled, has_gap: bool) -> None:
    assert (plan_gap(PARTITION, settled, LOG) is not None) == has_gap
