"""An offset belongs to one log: what does not fit is refused, with the numbers and the command that goes on."""

import pytest

from roadloop_runtime.broker import Log, OffsetRefused
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.check_offset import check_memory, check_offset
from roadloop_runtime.settlement.protocols import Settled

PARTITION = Partition("in.v1", 2)
LOG = Log("now", 10, 20)
RESET = "roadloop offsets reset copier in.v1"


@pytest.mark.parametrize(
    "settled",
    [
        pytest.param(Settled(None), id="nothing was ever settled"),
        pytest.param(Settled(10, "now"), id="at its start"),
        pytest.param(Settled(20, "now"), id="at its end"),
        pytest.param(Settled(15), id="from before ids were kept, within the log"),
    ],
)
def test_an_offset_of_this_log_is_read_on_from(settled: Settled) -> None:
    check_offset("copier", PARTITION, settled, LOG)


@pytest.mark.parametrize(
    ("settled", "sentence"),
    [
        pytest.param(
            Settled(15, "then"),
            "copier has read in.v1/2 to 15, but of another log: the topic was deleted and made again "
            "(id then, now now). What was in the old one and not read is lost; the new one has offsets 10 to 20. "
            f"To read it from its start: {RESET} --to start",
            id="a topic that was deleted and made again, though the offset would fit",
        ),
        pytest.param(
            Settled(7, "now"),
            "in.v1/2: 3 records expired unread (7 to 9): copier was away for longer than they are kept. "
            "They are lost; to go on behind them: roadloop offsets accept-gap copier in.v1",
            id="records that expired unread",
        ),
        pytest.param(
            Settled(25, "now"),
            "copier has read in.v1/2 to 25, but its log ends at 20: the brokers lost 5 records that were there. "
            f"To go on with what comes: {RESET} --to end",
            id="a log that is shorter than the offset",
        ),
        pytest.param(
            Settled(25),
            "copier has read in.v1/2 to 25, but its log ends at 20: the brokers lost 5 records that were there. "
            f"To go on with what comes: {RESET} --to end",
            id="a log that is shorter than an offset from before ids were kept",
        ),
    ],
)
def test_an_offset_that_does_not_fit_is_refused(settled: Settled, sentence: str) -> None:
    with pytest.raises(OffsetRefused) as refused:
        check_offset("copier", PARTITION, settled, LOG)
    assert str(refused.value) == sentence


def test_a_memory_without_its_offset_is_refused() -> None:
    with pytest.raises(OffsetRefused) as refused:
        check_memory("copier", PARTITION, Settled(None), is_new=False)
    assert str(refused.value) == (
        "copier remembers what it read of in.v1/2, but has no offset: its offsets were deleted, or expired before "
        f"their topic. To go on with what comes: {RESET} --to end; to decide all of it again: {RESET} --to start"
    )


@pytest.mark.parametrize(("settled", "is_new"), [(Settled(None), True), (Settled(3), False), (Settled(3), True)])
def test_a_memory_with_its_offset_or_none_of_both_is_fine(settled: Settled, is_new: bool) -> None:
    check_memory("copier", PARTITION, settled, is_new=is_new)
