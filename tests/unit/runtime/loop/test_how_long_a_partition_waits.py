"""How long the head of a partition keeps the records behind it waiting, in virtual time."""

import asyncio

import async_solipsism
import pytest

from roadloop_runtime.handler import Handler
from roadloop_runtime.loop.retry import SETTLES_S, observe
from roadloop_runtime.outcome import DeadLetter, LoopReason, Outcome, Skip, Transient
from tests.builders import make_record

RECORD = make_record()
CANARY_S = 0.05


def decide(memory: None, _seen: str, _policy: None) -> tuple[None, Outcome]:
    return memory, Skip(LoopReason.UNDECODABLE)


def waits_s(
    outage_s: float, *, fails_for_ever: bool = False, busy: bool = False, seems_well_after_s: float | None = None
) -> tuple[float, object]:
    """Return how long an observation took, and what came of it.

    Its dependency is away for `outage_s`, or only busy; its canary may pass before it works.
    """
    well_after_s = outage_s if seems_well_after_s is None else seems_well_after_s

    async def main() -> tuple[float, object]:
        clock = asyncio.get_running_loop().time
        began = clock()

        async def canary() -> bool:
            await asyncio.sleep(CANARY_S)
            return busy or clock() - began > well_after_s

        async def look(_body: str) -> str:
            if fails_for_ever or clock() - began < outage_s:
                raise Transient("triton", "no answer", busy=busy)
            return "seen"

        handler = Handler(decode=lambda _: "body", decide=decide, canaries={"triton": canary})
        found = await observe(handler, look, RECORD, "body")
        return clock() - began, found

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(main())


def test_a_record_that_alone_fails_keeps_its_partition_waiting_for_less_than_a_second() -> None:
    waited_s, found = waits_s(0.0, fails_for_ever=True)
    assert isinstance(found, DeadLetter)
    assert 0.2 < waited_s < 1.0


@pytest.mark.parametrize("outage_s", [0.3, 5.0, 600.0])
def test_after_an_outage_a_record_is_tried_again_within_seconds(outage_s: float) -> None:
    waited_s, found = waits_s(outage_s)
    assert found == "seen"
    assert outage_s <= waited_s < outage_s + 7.0


def test_a_dependency_that_says_it_is_busy_is_an_outage_though_its_canary_passes() -> None:
    waited_s, found = waits_s(60.0, busy=True)
    assert found == "seen"
    assert 60.0 <= waited_s < 67.0


def test_a_dependency_that_answers_before_it_works_gives_up_no_record() -> None:
    waited_s, found = waits_s(17.0, seems_well_after_s=4.0)
    assert found == "seen"
    assert 17.0 <= waited_s < 24.0


def test_a_record_that_fails_on_after_an_outage_is_given_up_soon_after() -> None:
    waited_s, found = waits_s(60.0, fails_for_ever=True)
    assert isinstance(found, DeadLetter)
    assert 60.0 + SETTLES_S - 6.0 < waited_s < 60.0 + SETTLES_S + 11.0
