"""Kill a screening worker, and stop the model server for a while, on a whole stack under load.

Services reach their servers through proxies, which count bytes: a consumer that fetched the same again and again would
show there.
"""

import asyncio
import io
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from PIL import Image

from loop.turns import Report
from roadloop_agent import Picture, upload
from roadloop_local import stack as local
from roadloop_runtime.kafka.member import SESSION_TIMEOUT_MS
from roadloop_world.actors import tenant_setup
from roadloop_world.actors.fleet import Vehicle
from roadloop_world.actors.subscriber import read_topic
from tests.chaos.faults import start_second_worker
from tests.chaos.load import TENANT, Load, under_load
from tests.chaos.rounds import Arena, open_arena
from tests.load import read_books
from tests.waiting import eventually

CARS = 12
TIMES = 5
RESTART_LIMIT_S = 10.0
MEMORY_LIMIT_MIB = 64.0
BACKLOG_UPLOADS, FILES_PER_UPLOAD = 24, 400
KEEP_NONE = '{"threshold": 1.0, "audit_share": 0.0}'
SETTLES_WITHIN_S = 900.0
AT_ONCE_S = 2.0


@dataclass(frozen=True)
class Outage:
    """What the model server's outage did: a worker's memory in MiB, and what services were sent, in MiB a minute."""

    minutes: float
    units_waiting: int
    rss_before: float
    rss_most: float
    kafka_before: float
    kafka_during: float
    s3_during: float
    dead_letters: int
    drained_s: float


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Bring everything up; return the times to recover, and the outage."""
    with tempfile.TemporaryDirectory(prefix="recovery-", dir=Path.home()) as folder:
        return asyncio.run(_measure(Path(folder), options.minutes, report))


async def _measure(folder: Path, minutes: float, report: Report) -> dict[str, Any]:
    async with open_arena(folder) as arena, under_load(arena.stack, folder, cars=CARS) as load:
        await tenant_setup.set_policy(arena.stack, TENANT, KEEP_NONE)
        await load.upload(CARS)
        await eventually("all is screened", lambda: _is_screened(load), SETTLES_WITHIN_S)
        restarts, moves = [], []
        for turn in range(TIMES):
            restarts.append(await _measure_until_screened_again(arena, load, _kill_worker(arena)))
            report(f"{turn + 1}/{TIMES} killed and started again: screened again after {restarts[-1]:.1f} s")
        for turn in range(TIMES):
            async with run_second_worker(arena) as second:
                moves.append(await _measure_until_screened_again(arena, load, asyncio.to_thread(second.kill)))
            report(f"{turn + 1}/{TIMES} killed and gone: screened again after {moves[-1]:.1f} s")
        outage = await _measure_outage(arena, load, minutes, report)
    session_s = SESSION_TIMEOUT_MS / 1000
    return {
        "restart_s": restarts,
        "gone_s": moves,
        "session_timeout_s": session_s,
        "outage": asdict(outage),
        "ratio": {
            "restart": max(restarts) / RESTART_LIMIT_S,
            "gone": max(moves) / session_s,
            "memory": (outage.rss_most - outage.rss_before) / MEMORY_LIMIT_MIB,
        },
    }


async def _kill_worker(arena: Arena) -> None:
    await asyncio.to_thread(local.kill, arena.stack.data, "screen")


@asynccontextmanager
async def run_second_worker(arena: Arena) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Add a worker, and wait until it has its partitions."""
    process = start_second_worker(arena.stack, arena.folder)
    try:
        await eventually("the second worker screens", lambda: _has_partitions(arena), 60)
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def _has_partitions(arena: Arena) -> bool:
    return "taken_over" in await asyncio.to_thread((arena.folder / "second.log").read_text)


async def _measure_until_screened_again(arena: Arena, load: Load, fault: Awaitable[Any]) -> float:
    """Let something happen while small uploads come on all partitions; return when the last one was screened again."""
    async with keep_uploading(load):
        await eventually("the uploads are under way", lambda: _all_screened_within(arena, AT_ONCE_S), 60)
        at_ms = time.time() * 1000
        await fault
        await eventually("all partitions are screened again", lambda: _all_screened_since(arena, at_ms), 60)
    await eventually("all is screened", lambda: _is_screened(load), SETTLES_WITHIN_S)
    first_times = [_find_first_after(times, at_ms) for times in (await _read_verdict_times(arena)).values()]
    return (max(first_times) - at_ms) / 1000


@asynccontextmanager
async def keep_uploading(load: Load) -> AsyncIterator[None]:
    """Let every car upload a small picture again and again."""
    began = round(time.time())

    async def drive(car: Vehicle) -> None:
        for number in count():
            pictures = [Picture(_draw_noise(), datetime.now(UTC))]
            await upload(load.ingest, car.token(), f"{car.name}-{began}-{number}", "steady", pictures)
            await asyncio.sleep(0.3)

    tasks = [asyncio.create_task(drive(car)) for car in load.cars]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _all_screened_within(arena: Arena, seconds: float) -> bool:
    return await _all_screened_since(arena, (time.time() - seconds) * 1000)


async def _all_screened_since(arena: Arena, at_ms: float) -> bool:
    return all(max(times) > at_ms for times in (await _read_verdict_times(arena)).values())


def _find_first_after(times: Sequence[int], at_ms: float) -> float:
    return min((time_ms for time_ms in times if time_ms > at_ms), default=at_ms)


async def _read_verdict_times(arena: Arena) -> Mapping[int, Sequence[int]]:
    times: dict[int, list[int]] = {}
    for record in await read_topic(arena.stack.kafka_bootstrap, "frames.screened.v1"):
        times.setdefault(record.partition, []).append(record.timestamp)
    return times


# --- the model server is away ---------------------------------------------------------------------------------------


async def _measure_outage(arena: Arena, load: Load, minutes: float, report: Report) -> Outage:
    """Stop the model server, fill the topic with more than a worker may hold, and watch it wait."""
    dead_letters_before, before_s = await _count_dead_letters(load), 30.0
    rss_before, kafka_before, _ = await _watch(arena, before_s)
    await asyncio.to_thread(local.stop, arena.stack.data, "triton")
    began, screened = time.monotonic(), await _count_units(arena)
    await _fill(load)
    report(f"the model server is away, {load.sent} frames are sent: waiting for {minutes:g} minutes in all")
    left_s = max(before_s, minutes * 60 - (time.monotonic() - began))
    rss_most, kafka_during, s3_during = await _watch(arena, left_s)
    waiting = await _count_units(arena) - screened
    await asyncio.to_thread(local.start, arena.stack.data, "triton")
    started_again = time.monotonic()
    await eventually("all is screened", lambda: _is_screened(load), SETTLES_WITHIN_S)
    return Outage(
        minutes,
        waiting,
        rss_before,
        rss_most,
        kafka_before / before_s * 60,
        kafka_during / left_s * 60,
        s3_during / left_s * 60,
        await _count_dead_letters(load) - dead_letters_before,
        round(time.monotonic() - started_again, 1),
    )


async def _count_units(arena: Arena) -> int:
    return len(await read_topic(arena.stack.kafka_bootstrap, "frames.ingested.v1"))


async def _fill(load: Load) -> None:
    """Upload small pictures, as many as make more units than a worker may hold."""
    for number in range(BACKLOG_UPLOADS):
        car = load.cars[number % len(load.cars)]
        pictures = [Picture(_draw_noise(), datetime.now(UTC)) for _ in range(FILES_PER_UPLOAD)]
        await upload(load.ingest, car.token(), f"backlog-{number}", "backlog", pictures)
        load.sent += len(pictures)


def _draw_noise() -> bytes:
    """Return a small picture that nobody has seen before."""
    content = io.BytesIO()
    grey = np.random.default_rng().integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(grey).save(content, "JPEG")
    return content.getvalue()


async def _watch(arena: Arena, for_s: float) -> tuple[float, float, float]:
    """Return a worker's most memory in MiB over a while, and the MiB that Kafka and S3 sent to the services."""
    sent = {name: proxy.sent_bytes for name, proxy in arena.proxies.items()}
    most, until = 0.0, time.monotonic() + for_s
    while time.monotonic() < until:
        pid = await asyncio.to_thread(local.pid_of, arena.stack.data, "screen")
        most = max(most, psutil.Process(pid).memory_info().rss / 2**20)
        await asyncio.sleep(1)
    from_kafka, from_s3 = ((arena.proxies[name].sent_bytes - sent[name]) / 2**20 for name in ("kafka", "s3"))
    return most, from_kafka, from_s3


async def _count_dead_letters(load: Load) -> int:
    return int((await read_books(load.ingest))["frames"].get("dead_lettered", 0))


async def _is_screened(load: Load) -> bool:
    frames = (await read_books(load.ingest)).get("frames", {})
    return bool(frames) and "in_flight" not in frames


def make_table(result: Mapping[str, Any]) -> str:
    """Write the figures as a Markdown table."""
    outage = result["outage"]
    rows = {
        "killed and started again, s": f"{median(result['restart_s']):.1f}, at most {max(result['restart_s']):.1f}",
        "killed and gone, s": f"{median(result['gone_s']):.1f}, at most {max(result['gone_s']):.1f}",
        "session timeout, s": f"{result['session_timeout_s']:.0f}",
        "outage, minutes": f"{outage['minutes']:g}",
        "units waiting": outage["units_waiting"],
        "worker's memory before, and at most, MiB": f"{outage['rss_before']:.0f}, {outage['rss_most']:.0f}",
        "from Kafka before and during, MiB a minute": f"{outage['kafka_before']:.2f}, {outage['kafka_during']:.2f}",
        "from S3 during, MiB a minute": f"{outage['s3_during']:.2f}",
        "dead letters": outage["dead_letters"],
        "all screened after, s": outage["drained_s"],
    }
    return "\n".join(["| figure | value |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows.items())])
