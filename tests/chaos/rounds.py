"""Rounds of load and faults; after each, an outside reader compares the books."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from roadloop_audit.check import Finding
from roadloop_audit.places import places_of
from roadloop_audit.settled import audit_settled
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.supervision.leftover_processes import find_processes
from tests.chaos import clock
from tests.chaos.faults import CLOCK, PROXIED, Fault, draw, strike
from tests.chaos.load import Load, under_load
from tests.chaos.proxy import Proxy, open_proxy
from tests.load import read_books
from tests.waiting import eventually

DRIVES = 9
LOST = {
    "no-verdict",
    "no-task",
    "task-not-told",
    "label-not-told",
    "label-not-stored",
    "frame-without-row",
    "frame-not-announced",
    "object-missing",
    "files-unbalanced",
    "frames-unbalanced",
    "behind",
}
Told = Callable[["Round"], None]


@dataclass(frozen=True)
class Round:
    """What went wrong in a round, and what was found.

    `fault_s`: how long the longest fault lasted; `standstill_s`: the longest time in which no frame came through;
    `settled_s`: from the last upload and the last fault's end until every effect was there.
    """

    number: int
    faults: tuple[str, ...]
    frames: int
    fault_s: float
    standstill_s: float
    settled_s: float
    findings: tuple[Finding, ...] = ()
    orphans: tuple[str, ...] = ()

    @property
    def lost(self) -> int:
        return sum(finding.kind in LOST for finding in self.findings)

    @property
    def twice(self) -> int:
        return sum(finding.kind.startswith("two-") or finding.kind == "event-twice" for finding in self.findings)


@dataclass
class Arena:
    """A stack whose services reach their servers through proxies."""

    stack: Stack
    proxies: Mapping[str, Proxy]
    folder: Path
    programs: frozenset[str] = field(default_factory=frozenset)


@asynccontextmanager
async def open_arena(folder: Path) -> AsyncIterator[Arena]:
    """Bring everything up, with proxies between the services and Kafka, Postgres and S3."""
    layout = local.settle((folder / "stack").resolve())
    proxies = {name: await open_proxy(layout.ports[name]) for name in PROXIED}
    reach = {name: proxy.port for name, proxy in proxies.items()}
    settings = {"ROADLOOP_PUBLIC_S3_ENDPOINT": f"http://127.0.0.1:{layout.ports['s3']}"}
    settings |= clock.movable(folder / CLOCK)
    try:
        stack = await asyncio.to_thread(local.up, layout.data, environment=settings, reach=reach)
        yield Arena(stack, proxies, folder)
    finally:
        for proxy in proxies.values():
            await proxy.close()
        await asyncio.to_thread(local.down, layout.data, purge=True)


async def run_rounds(folder: Path, rounds: int, seed: int, told: Told, *, only: str = "") -> list[Round]:
    """Run so many rounds on one stack; a finding ends none of them. Faults are those that begin with `only`.

    What stands still unsettled ends the run, and leaves `evidence` beside the stack's folder: logs, books and findings.
    """
    dice, done = Random(f"chaos {seed}"), list[Round]()
    movable = clock.find_library() is not None
    async with open_arena(folder) as arena, under_load(arena.stack, folder) as load:
        await one_round(arena, load, 0, ())
        usual = names(arena.stack)
        for number in range(1, rounds + 1):
            faults = _draw(dice, dice.choice((1, 1, 2)), movable, only)
            try:
                outcome = await one_round(arena, load, number, faults, dice=dice, usual=usual)
            except* Exception:
                await keep_evidence(arena, load)
                raise
            done.append(outcome)
            told(outcome)
    return done


def _draw(dice: Random, count: int, movable_clock: bool, only: str) -> tuple[Fault, ...]:
    """Draw faults, each of somebody else: who waits for a program to come back cannot have another one stop it."""
    faults: dict[str, Fault] = {}
    while len(faults) < count:
        fault = draw(dice, movable_clock=movable_clock)
        if str(fault).startswith(only):
            faults.setdefault(fault.whom, fault)
            count = 1 if only else count
    return tuple(faults.values())


async def keep_evidence(arena: Arena, load: Load) -> None:
    """Keep what tells why a round did not settle: the stack is about to be purged."""
    evidence = arena.folder / "evidence"
    shutil.copytree(arena.stack.data / "logs", evidence, dirs_exist_ok=True)
    found = await audit_settled(places_of(arena.stack), within_s=5)
    said = {"sent": load.sent, "books": await read_books(load.ingest), "processes": names(arena.stack)}
    (evidence / "books.json").write_text(json.dumps(said | {"findings": [f._asdict() for f in found]}, indent=1))


class Standstill:
    """The longest time in which no more frames had their verdict."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def follow(self, load: Load) -> None:
        seen, since = -1, time.monotonic()
        while True:
            frames = (await read_books(load.ingest)).get("frames", {})
            screened = frames.get("kept", 0) + frames.get("dropped", 0)
            if screened > seen or (frames and screened >= load.sent):  # nothing waits where all is through
                seen, since = screened, time.monotonic()
            self.longest_s = max(self.longest_s, time.monotonic() - since)
            await asyncio.sleep(0.3)


def names(stack: Stack) -> list[str]:
    """Return the names of the stack's long-lived processes, sorted; children of Postgres and trainings come and go."""
    found = []
    for process in find_processes(stack.data):
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if process.name() != "postgres" and "roadloop_trainer" not in command:
            found.append(f"{process.name()} {' '.join(command[-2:])[-60:]}")
    return sorted(found)


async def one_round(
    arena: Arena,
    load: Load,
    number: int,
    faults: tuple[Fault, ...],
    *,
    dice: Random | None = None,
    usual: list[str] | None = None,
) -> Round:
    """Load, faults in the midst of it, then wait until all is settled, and look."""
    sent, fault_s = load.sent, 0.0

    async def go_wrong(fault: Fault, after_s: float) -> None:
        nonlocal fault_s
        await asyncio.sleep(after_s)
        began = time.monotonic()
        await strike(fault, arena.stack, arena.proxies, arena.folder)
        fault_s = max(fault_s, time.monotonic() - began)

    watch = Standstill()
    async with asyncio.TaskGroup() as watched:
        watching = watched.create_task(watch.follow(load))
        async with asyncio.TaskGroup() as group:
            group.create_task(load.upload(DRIVES))
            for fault in faults:
                group.create_task(go_wrong(fault, dice.uniform(0.0, 3.0) if dice else 0.0))
        ended = time.monotonic()
        what = f"round {number} ({', '.join(map(str, faults))}) is settled"
        await eventually(what, load.is_settled, moving=load.books)
        settled_s = time.monotonic() - ended
        watching.cancel()
    findings = await audit_settled(places_of(arena.stack))
    orphans = tuple(sorted(set(names(arena.stack)) - set(usual))) if usual is not None else ()
    return Round(
        number,
        tuple(map(str, faults)),
        load.sent - sent,
        round(fault_s, 1),
        round(watch.longest_s, 1),
        round(settled_s, 1),
        tuple(findings),
        orphans,
    )
