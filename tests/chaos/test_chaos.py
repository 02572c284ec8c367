"""Two rounds of the chaos run, its proxy and its report."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from roadloop_audit.check import Finding
from tests.chaos.__main__ import report, write
from tests.chaos.faults import CLOCK, draw
from tests.chaos.proxy import Mode, Proxy, open_proxy
from tests.chaos.rounds import Round, run_rounds
from tests.waiting import LONG_TEST_S


@pytest.mark.e2e
@pytest.mark.crash
@pytest.mark.timeout(LONG_TEST_S)
async def test_two_rounds_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    rounds = await run_rounds(tmp_path, 2, seed=5, told=lambda _: None)
    assert [(one.findings, one.orphans) for one in rounds] == [((), ())] * 2
    assert all(one.faults and one.frames for one in rounds)


def test_every_kind_of_fault_is_drawn() -> None:
    drawn = {(fault.kind, fault.whom) for fault in (draw(Random(seed)) for seed in range(2_000))}
    assert {whom for kind, whom in drawn if kind == "kill"} >= {"ingest", "screen", "label-router", "trainer-trigger"}
    assert {whom for kind, whom in drawn if kind == "kill server"} == {"kafka", "postgres", "s3", "triton"}
    assert {kind for kind, whom in drawn if whom == "s3"} >= {"slow", "add_kept_scene", "cut", "error", "full disk"}
    assert ("jump", CLOCK) in drawn
    assert all(draw(Random(seed), movable_clock=False).kind != "jump" for seed in range(500))


def test_the_report_counts_what_was_lost_and_what_came_twice(tmp_path: Path) -> None:
    lost, twice = Finding("no-verdict", "f-1", "<b>"), Finding("two-verdicts", "f-2", "")
    rounds = [Round(1, ("kill screen",), 54, 1.0, 2.5, 0.4, (lost, twice)), Round(2, ("cut s3",), 54, 1.0, 7.5, 0.1)]
    figures = report(rounds, 7, 60.0)
    assert (figures["rounds"], figures["lost"], figures["twice"], len(figures["findings"])) == (2, 1, 1, 2)
    assert figures["standstill_s"] == {"median": 7.5, "worst": 7.5}
    write(figures, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "kill screen" in page
    assert "&lt;b&gt;" in page, "what was found is shown, not run"


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


async def ask(proxy: Proxy, line: bytes = b"hello\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(line)
        return await reader.readline()
    finally:
        writer.close()


async def is_over(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.readline() == b""
    except ConnectionError:
        return True


async def ask_or_nothing(proxy: Proxy) -> bytes:
    try:
        return await ask(proxy)
    except ConnectionError:
        return b""


async def test_the_proxy_passes_slows_hangs_cuts_and_errs(echo: int) -> None:
    proxy = await open_proxy(echo)
    assert await ask(proxy) == b"hello\n"
    proxy.be(Mode.SLOW)
    assert await ask(proxy) == b"hello\n"
    proxy.be(Mode.HANG)
    asking = asyncio.create_task(ask(proxy))
    assert await asyncio.wait({asking}, timeout=0.5) == (set(), {asking})
    proxy.be(Mode.PASS)
    assert await asking == b"hello\n", "what hung goes on"
    proxy.be(Mode.ERROR)
    assert (await ask(proxy)).startswith(b"HTTP/1.1 503")
    proxy.be(Mode.PASS)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"still\n")
    assert await reader.readline() == b"still\n"
    proxy.be(Mode.CUT)
    assert await is_over(reader)
    writer.close()
    assert await ask_or_nothing(proxy) == b""
    await proxy.close()
