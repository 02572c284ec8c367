"""The waits of the tests themselves: as long as something moves they go on, and what stood still is named."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import async_solipsism
import pytest

from tests.waiting import GUARD_S, eventually, last_line


def simulated(waiting: Callable[[], Awaitable[float]]) -> float:
    """Run in virtual time, which passes at once; return what was waited for."""

    async def main() -> float:
        return await waiting()

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


async def after_an_hour() -> bool:
    return now() >= 3_600


async def moves_every_four_minutes() -> int:
    return int(now()) // 240


async def stops_after_ten_minutes() -> str:
    return f"frame {min(now(), 600) // 1:.0f}"


def test_a_wait_goes_on_for_an_hour_while_something_moves() -> None:
    async def waiting() -> float:
        await eventually("an hour is over", after_an_hour, moving=moves_every_four_minutes)
        return now()

    assert 3_600 <= simulated(waiting) < 3_601


def test_what_stood_still_is_named_with_what_was_seen_last() -> None:
    async def waiting() -> float:
        said = r"nothing moved for 300 s: an hour is over; seen last: frame 600"
        with pytest.raises(AssertionError, match=said):
            await eventually("an hour is over", after_an_hour, moving=stops_after_ten_minutes)
        return now()

    assert 600 + GUARD_S <= simulated(waiting) < 610 + GUARD_S


def test_without_a_sign_of_progress_the_patience_is_for_the_whole() -> None:
    async def waiting() -> float:
        with pytest.raises(AssertionError, match="nothing moved for 300 s: an hour is over"):
            await eventually("an hour is over", after_an_hour)
        return now()

    assert simulated(waiting) < 310


def test_the_last_line_of_a_log_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert last_line(tmp_path / "log") == ""
    (tmp_path / "log").write_text("one\ntwo\n")
    assert last_line(tmp_path / "log") == "two"
