"""An outage is retried for as long as it lasts; a record that alone fails is given up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import stamina

from roadloop_runtime.handler import Canary, Handler
from roadloop_runtime.loop.retry import observe
from roadloop_runtime.outcome import DeadLetter, LoopReason, Outcome, Skip, Transient
from tests.builders import make_record

RECORD = make_record()


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1_000):
        yield


def handler(**canaries: Canary) -> Handler[str, str, None, None]:
    def decide(memory: None, _seen: str, _policy: None) -> tuple[None, Outcome]:
        return memory, Skip(LoopReason.UNDECODABLE)

    return Handler(decode=lambda _: "body", decide=decide, canaries=canaries)


def failing(times: int, error: Exception, tries: list[str]) -> Callable[[str], Awaitable[str]]:
    """Make an observation that fails so many times, then works."""

    async def look(body: str) -> str:
        tries.append(body)
        if len(tries) <= times:
            raise error
        return "seen"

    return look


def answers(*passes: bool) -> Canary:
    """Make a canary that answers this, and goes on with its last answer."""
    left = list(passes)

    async def canary() -> bool:
        return left.pop(0) if len(left) > 1 else left[0]

    return canary


GIVEN_UP = DeadLetter(
    LoopReason.STILL_FAILING,
    "s3: timed out",
    rule="s3 works for others, but failed 3 times for this record",
    remedy="look into s3's log at this time, then replay",
)


@pytest.mark.parametrize(
    ("canary", "failures", "expected", "tries"),
    [
        pytest.param(answers(False), 0, "seen", 1, id="works-at-once"),
        pytest.param(answers(False), 200, "seen", 201, id="retried-for-as-long-as-the-canary-fails"),
        pytest.param(answers(True), 2, "seen", 3, id="two-failures-with-a-passing-canary-are-forgiven"),
        pytest.param(answers(True), 3, GIVEN_UP, 3, id="three-are-not"),
        pytest.param(answers(False, False, True), 9, "seen", 10, id="nor-do-failures-right-after-an-outage-count"),
        pytest.param(answers(True, True, False, True), 9, "seen", 10, id="nor-those-after-a-second-outage"),
    ],
)
async def test_transient_failures(canary: Canary, failures: int, expected: object, tries: int) -> None:
    tried: list[str] = []
    look = failing(failures, Transient("s3", "timed out"), tried)
    assert await observe(handler(s3=canary), look, RECORD, "body") == expected
    assert tried == ["body"] * tries


async def test_only_the_canary_of_the_dependency_that_failed_is_asked() -> None:
    tried: list[str] = []
    look = failing(5, Transient("s3", "timed out"), tried)
    assert await observe(handler(s3=answers(False), triton=answers(True)), look, RECORD, "body") == "seen"


async def test_a_dependency_without_a_canary_is_taken_for_working() -> None:
    tried: list[str] = []
    look = failing(5, Transient("s3", "timed out"), tried)
    assert await observe(handler(triton=answers(False)), look, RECORD, "body") == GIVEN_UP


async def test_any_other_exception_is_our_bug_and_is_not_tried_again() -> None:
    tried: list[str] = []
    found = await observe(handler(), failing(1, KeyError("boxes"), tried), RECORD, "body")
    assert (found.reason, found.detail, len(tried)) == (LoopReason.HANDLER_FAILED, "KeyError: 'boxes'", 1)


async def test_a_canary_that_breaks_is_our_bug_too() -> None:
    async def broken() -> bool:
        raise RuntimeError("no canary")

    found = await observe(handler(s3=broken), failing(1, Transient("s3", "timed out"), []), RECORD, "body")
    assert (found.reason, found.detail) == (LoopReason.HANDLER_FAILED, "RuntimeError: no canary")


async def test_cancelling_is_never_swallowed() -> None:
    entered = asyncio.Event()

    async def look(_body: str) -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    task = asyncio.create_task(observe(handler(), look, RECORD, "body"))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_code_that_lost_a_task_of_its_own_is_our_bug_and_ends_nothing_else() -> None:
    async def look(_body: str) -> str:
        raise asyncio.CancelledError

    found = await observe(handler(), look, RECORD, "body")
    assert (found.reason, found.detail) == (LoopReason.HANDLER_FAILED, "CancelledError: ")
