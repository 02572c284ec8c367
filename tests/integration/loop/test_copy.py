"""The loop on real servers: nothing lost, nothing twice, in order, memory as in a calm run."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from roadloop_runtime.dead_letter import read_explanation
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition
from tests.waiting import GUARD_S, eventually

from .conftest import Copying, assert_each_once

pytestmark = pytest.mark.integration


def reached(copying: Copying, count: int) -> Callable[[], Awaitable[bool]]:
    return lambda: copying.has_copied(count)


async def test_every_record_is_copied_once_and_idle_lag_is_zero(copying: Copying) -> None:
    copying.start("a")
    await copying.put(0, 500)
    await eventually("500 copies", reached(copying, 500))
    assert_each_once(await copying.copied(), 500)

    async def no_lag() -> bool:
        return await copying.lag() == 0

    await eventually("lag 0", no_lag)


async def test_a_stopped_service_ends_with_0_and_goes_on_where_it_was(copying: Copying) -> None:
    process = copying.start("a")
    await copying.put(0, 300)
    await eventually("a first copy", reached(copying, 1))
    process.terminate()
    assert await asyncio.to_thread(process.wait, GUARD_S) == 0
    await copying.put(300, 400)
    copying.start("a")
    await eventually("400 copies", reached(copying, 400))
    assert_each_once(await copying.copied(), 400)


async def test_a_bad_record_becomes_a_dead_letter_that_says_why_and_the_rest_goes_on(copying: Copying) -> None:
    copying.start("a")
    await copying.put_values(b"1", b"poison", b"skip", b"not json", b"2")
    await eventually("two copies", reached(copying, 2))
    letters = await read_partition(copying.stack.kafka_bootstrap, Partition(copying.dead_letters, 0))
    assert [dead_letter.value for dead_letter in letters] == [b"poison", b"not json"]
    assert [dead_letter.key for dead_letter in letters] == [b"k", b"k"]
    said = read_explanation(tuple(letters[0].headers))
    assert said == {
        "topic": copying.source,
        "partition": "0",
        "offset": "1",
        "group": copying.name,
        "message": "poison",
        "reason": "undecodable",
        "field": "value",
        "rule": "must not be poison",
        "remedy": "send JSON",
    }
    assert next(iter(letters[0].headers)) == ("h", b"1")
    assert read_explanation(tuple(letters[1].headers))["reason"] == "handler_failed"


@pytest.mark.crash
async def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(copying: Copying) -> None:
    await copying.put(0, 2_000)
    for round_number in range(1, 4):
        process = copying.start("a")
        await eventually("some copies", reached(copying, 400 * round_number))
        process.kill()
        process.wait()
    copying.start("a")
    await copying.put(2_000, 2_100)
    await eventually("2,100 copies", reached(copying, 2_100))
    assert_each_once(await copying.copied(), 2_100)


@pytest.mark.crash
async def test_a_frozen_member_wakes_up_fenced_or_empty_handed(copying: Copying) -> None:
    frozen = copying.start("a")
    await copying.put(0, 200)
    await eventually("200 copies", reached(copying, 200))
    copying.start("b")
    await copying.put(200, 3_000)
    frozen.send_signal(signal.SIGSTOP)
    await eventually("b copies the rest", reached(copying, 3_000))
    await copying.put(3_000, 3_200)
    frozen.send_signal(signal.SIGCONT)
    await eventually("3,200 copies", reached(copying, 3_200))
    if frozen.poll() is not None:
        assert frozen.returncode == 1, "a zombie must be restarted"
        copying.start("a", log="a-again")
    await copying.put(3_200, 3_300)
    await eventually("3,300 copies", reached(copying, 3_300))
    assert_each_once(await copying.copied(), 3_300)


@pytest.mark.crash
async def test_of_two_processes_with_one_member_id_the_older_ends_and_stays_ended(copying: Copying) -> None:
    older = copying.start("a", log="older")
    await copying.put(0, 50)
    await eventually("50 copies", reached(copying, 50))
    younger = copying.start("a", log="younger")
    assert await asyncio.to_thread(older.wait, GUARD_S) == 78
    await copying.put(50, 100)
    await eventually("100 copies", reached(copying, 100))
    assert younger.poll() is None
    assert_each_once(await copying.copied(), 100)
