"""Screen the same units in calm, and while things go wrong, and compare the verdicts one by one.

Servers only, a worker that is started again whenever it ends, and the sink's part that takes snapshots of memory, so
that most take-overs begin with one. Each run has a tenant of its own, so that nothing is
remembered from one to the other; its units are the same down to the ids of their frames. Faults: the worker is killed
(SIGKILL) some moments after each start, the model server is killed and stays away, S3 answers slowly through a proxy.
After each run every partition must hold the same verdicts in the same order as in calm, each once; what may differ are
the tenant, its model's name, and nothing else.
"""

import asyncio
import json
import os
import tempfile
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from aiokafka import AIOKafkaConsumer

from loop.turns import Report
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.binaries import find_binaries
from roadloop_local.ports import choose_ports
from roadloop_local.services import build_environment
from roadloop_runtime.kafka.admin import ensure_topics
from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.topics import read_topic_files
from screen.memory.entries import TOPIC
from screen.memory.snapshots import MemoryTopic, Snapshots
from screening import models, pictures, units, verdicts
from tests.chaos.proxy import Mode, Proxy, open_proxy

SERVERS = ("kafka", "s3", "triton")
PICTURES, FRAMES = 40, 24_000
AWAY_S, KILLED_AFTER_S = 60.0, (0.1, 1.0)
SNAPSHOT_AFTER, SNAPSHOT_EVERY_S = 200, 5.0
SETTLES_WITHIN_S, TWICE_WITHIN_S = 600.0, 3.0
Verdicts = Mapping[int, Sequence[dict[str, Any]]]  # by partition, in order


@dataclass(frozen=True)
class Compared:
    """One run beside the calm one: verdicts that are missing, there again, or other than in calm."""

    run: str
    frames: int
    seconds: float
    faults: int
    missing: int
    twice: int
    other: int


@dataclass
class Worker:
    """A worker that is started again whenever it ends, as a supervisor does."""

    command: Sequence[str]
    variables: Mapping[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def keep_running(self) -> None:
        """Run until cancelled."""
        variables = {**os.environ, **self.variables}
        try:
            while True:
                with self.log.open("ab") as log:
                    self.process = await asyncio.create_subprocess_exec(
                        *self.command, env=variables, stdout=log, stderr=log
                    )
                await self.process.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()


class Book:
    """A tenant's verdicts as a read_committed subscriber sees them, by partition and in order."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant.encode()
        self._changed = asyncio.Event()
        self.verdicts: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.frames: set[str] = set()

    async def read(self, reader: AIOKafkaConsumer) -> None:
        """Write down what comes, until cancelled."""
        while True:
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    if dict(record.headers)["ce_tenant"] == self._tenant:
                        verdict = {**json.loads(record.value), "models": None}
                        self.verdicts[record.partition].append(verdict)
                        self.frames.add(verdict["frame_id"])
            self._changed.set()

    async def wait_for(self, frames: int) -> None:
        """Wait until so many frames have a verdict."""
        while len(self.frames) < frames:
            self._changed.clear()
            await self._changed.wait()


@dataclass(frozen=True)
class Desk:
    """What a run needs: the stack, its worker, the proxy before S3, and the pictures."""

    stack: Stack
    worker: Worker
    s3: Proxy
    objects: Sequence[ObjectRef]


Faults = Callable[[Desk, str, Book], Awaitable[int]]


def measure(options: Namespace, report: Report) -> dict[str, Any]:
    """Bring servers up; return what differs from calm."""
    with tempfile.TemporaryDirectory(prefix="calm-", dir=Path.home()) as folder:
        runs = asyncio.run(_measure(Path(folder), options.kills, report))
    return {
        "figures": {"faults": sum(run.faults for run in runs)},
        "ratio": {"differing": sum(run.missing + run.twice + run.other for run in runs)},
        "runs": [asdict(run) for run in runs],
    }


def make_table(result: Mapping[str, Any]) -> str:
    """Write what differs from calm as a Markdown table."""
    lines = [
        "| run | frames | s | faults | missing | twice | other than in calm |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join(lines + ["| " + " | ".join(f"{value}" for value in run.values()) + " |" for run in result["runs"]])


async def _measure(folder: Path, kills: int, report: Report) -> list[Compared]:
    async with _open_desk(folder, report) as desk:
        runs: dict[str, Faults] = {
            "calm": _do_nothing,
            "killed": partial(_kill_again_and_again, kills),
            "without-triton": _take_triton_away,
            "slow-s3": _slow_s3_down,
        }
        comparisons: list[Compared] = []
        calm: Verdicts = {}
        for name, faults in runs.items():
            run_verdicts, seconds, fault_count = await _screen(desk, name, faults)
            calm = calm or run_verdicts
            comparisons.append(_compare(name, seconds, fault_count, calm, run_verdicts))
            report(str(comparisons[-1]))
        report(f"{_count_snapshot_starts(desk.worker.log)} take-overs began with a snapshot")
        return comparisons


def _count_snapshot_starts(log: Path) -> int:
    rebuilds = [json.loads(line) for line in log.read_text().splitlines() if '"memory_rebuilt"' in line]
    return sum(fields["snapshot_up_to"] is not None for fields in rebuilds)


@asynccontextmanager
async def _open_desk(folder: Path, report: Report) -> AsyncIterator[Desk]:
    data = folder / "stack"
    proxy = await open_proxy(local.settle(data).ports["s3"])
    stack = await asyncio.to_thread(local.up, data, SERVERS, report=report)
    try:
        await ensure_topics(stack.kafka_bootstrap)
        objects = await asyncio.to_thread(pictures.store, stack, pictures.render(PICTURES))
        worker = Worker(_make_command(), _make_variables(stack, proxy.port), folder / "worker.log")
        running = [asyncio.create_task(part) for part in (worker.keep_running(), _keep_snapshots(stack))]
        try:
            yield Desk(stack, worker, proxy, objects)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    finally:
        await proxy.close()
        await asyncio.to_thread(local.down, data, purge=True)


async def _keep_snapshots(stack: Stack) -> None:
    store = open_store(stack.s3_endpoint, *stack.s3_keys("screen-history"))
    sink = Snapshots(MemoryTopic(stack.kafka_bootstrap, store), SNAPSHOT_AFTER)
    await sink.keep(read_topic_files()[TOPIC].partitions, SNAPSHOT_EVERY_S)


def _make_command() -> Sequence[str]:
    return [str(find_binaries().python), "-m", "screen"]


def _make_variables(stack: Stack, s3_port: int) -> Mapping[str, str]:
    of_worker = {"ROADLOOP_MEMBER": "screen-0", "ROADLOOP_HEALTH_PORT": str(choose_ports(["calm"], {})["calm"])}
    of_proxy = {"ROADLOOP_S3_ENDPOINT": f"http://127.0.0.1:{s3_port}"}
    return {**build_environment("screen", stack.layout, find_binaries()), **of_worker, **of_proxy}


async def _screen(desk: Desk, tenant: str, faults: Faults) -> tuple[Verdicts, float, int]:
    """Let a tenant's units be screened while faults happen; return the verdicts, how long it took, and how many."""
    await models.bring_stub(desk.stack, tenant, pause_ms=0, instances=1, batch=16)
    book, began = Book(tenant), time.monotonic()
    async with verdicts.watch(desk.stack) as reader:
        reading = asyncio.create_task(book.read(reader))
        frame_ids = await units.write(desk.stack, tenant, "same", FRAMES, desk.objects)
        fault_count = await faults(desk, tenant, book)
        async with asyncio.timeout(SETTLES_WITHIN_S):
            await book.wait_for(len(frame_ids))
        seconds = time.monotonic() - began
        await asyncio.sleep(TWICE_WITHIN_S)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await models.unload(desk.stack, f"detector.{tenant}")
    return book.verdicts, round(seconds, 1), fault_count


def _compare(run: str, seconds: float, faults: int, calm: Verdicts, screened: Verdicts) -> Compared:
    screened_ids = [verdict["frame_id"] for partition in screened.values() for verdict in partition]
    calm_ids = {verdict["frame_id"] for partition in calm.values() for verdict in partition}
    other = 0
    for partition, calm_verdicts in calm.items():
        newest_first = reversed(screened.get(partition, []))
        once = list({verdict["frame_id"]: verdict for verdict in newest_first}.values())[::-1]
        other += sum(in_calm != verdict for in_calm, verdict in zip(calm_verdicts, once, strict=False))
    missing, twice = len(calm_ids - set(screened_ids)), len(screened_ids) - len(set(screened_ids))
    return Compared(run, len(calm_ids), seconds, faults, missing, twice, other)


# --- what goes wrong ------------------------------------------------------------------------------------------------


async def _do_nothing(_desk: Desk, _tenant: str, _book: Book) -> int:
    return 0


async def _kill_again_and_again(kills: int, desk: Desk, _tenant: str, book: Book) -> int:
    """Kill the worker so many times, each time some moments after it has given another verdict."""
    dice = Random(1)
    for killed in range(kills):
        if len(book.frames) >= FRAMES:
            return killed
        await book.wait_for(len(book.frames) + 1)
        await asyncio.sleep(dice.uniform(*KILLED_AFTER_S))
        desk.worker.kill()
    return kills


async def _take_triton_away(desk: Desk, tenant: str, book: Book) -> int:
    """Kill the model server under load; a minute later it is started again, with the model."""
    await book.wait_for(1)
    await asyncio.to_thread(local.kill, desk.stack.data, "triton")
    await asyncio.to_thread(local.stop, desk.stack.data, "triton")
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(local.start, desk.stack.data, "triton")
    await models.bring_stub(desk.stack, tenant, pause_ms=0, instances=1, batch=16)
    return 1


async def _slow_s3_down(desk: Desk, _tenant: str, book: Book) -> int:
    """Let every chunk of S3's answers wait, for a minute."""
    await book.wait_for(1)
    desk.s3.be(Mode.SLOW)
    await asyncio.sleep(AWAY_S)
    desk.s3.be(Mode.PASS)
    return 1
