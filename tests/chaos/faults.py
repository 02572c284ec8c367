"""What goes wrong in a round: a program is killed, frozen or stopped, a server is slow, cut, in error or without disk,

or the services' clock jumps.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random

import httpx
import psutil

from roadloop_local import services
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.binaries import find_binaries
from roadloop_local.errors import StackError
from roadloop_local.ports import choose_ports
from roadloop_local.supervision.leftover_processes import find_processes
from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.objects import ObjectRefused, open_store
from tests.chaos import clock
from tests.chaos.proxy import Mode, Proxy
from tests.waiting import GUARD_S, eventually

SERVICES = ("ingest", "screen", "screen-rollout", "label-router", "trainer-trigger")
SERVERS = ("kafka", "postgres", "s3", "triton")
PROXIED = ("kafka", "postgres", "s3")
PAST_THE_SESSION_S, SHARES_S = 8.0, 2.0
CLOCK = "the clock"
JUMPS_S = (-7_200, -600, 600, 7_200)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, for a while where it lasts."""

    kind: str
    whom: str
    for_s: float = 0.0
    by_s: int = 0

    def __str__(self) -> str:
        by = f" by {self.by_s:+d} s" if self.by_s else ""
        return f"{self.kind} {self.whom}{by}" + (f" for {self.for_s:g} s" if self.for_s else "")


WEIGHTS = {
    "kill": 5,
    "freeze": 3,
    "terminate": 3,
    "kill server": 4,
    "freeze server": 2,
    "kill stub": 1,
    "network": 5,
    "second worker": 2,
    "full disk": 2,
    "jump": 2,
}


def draw(dice: Random, *, movable_clock: bool = True) -> Fault:
    """Draw what goes wrong."""
    kinds = [kind for kind in WEIGHTS if kind != "jump" or movable_clock]
    (kind,) = dice.choices(kinds, [WEIGHTS[kind] for kind in kinds])
    if kind == "jump":
        return Fault(kind, CLOCK, dice.choice((4.0, 9.0)), dice.choice(JUMPS_S))
    if kind == "full disk":
        return Fault(kind, dice.choice(PROXIED), dice.choice((1.0, 4.0, 9.0)))
    if kind == "kill stub":
        return Fault(kind, "triton")
    if kind == "second worker":
        return Fault(kind, "screen", dice.choice((0.0, PAST_THE_SESSION_S)))
    if kind == "network":
        whom = dice.choice(PROXIED)
        modes = [Mode.SLOW, Mode.HANG, Mode.CUT] + ([Mode.ERROR] if whom == "s3" else [])
        return Fault(dice.choice(modes), whom, dice.choice((1.0, 4.0, 9.0)))
    if kind.endswith("server"):
        return Fault(kind, dice.choice(SERVERS), dice.choice((1.0, 5.0)) if kind.startswith("freeze") else 0.0)
    return Fault(kind, dice.choice(SERVICES), PAST_THE_SESSION_S if kind == "freeze" else 0.0)


async def strike(fault: Fault, stack: Stack, proxies: Mapping[str, Proxy], folder: Path) -> None:
    """Let it go wrong, and return when its cause is over: what was killed runs again, what was frozen is awake."""
    if fault.kind in set(Mode):
        await _disturb(proxies[fault.whom], Mode(fault.kind), fault.for_s)
    elif fault.kind.startswith("freeze"):
        await _freeze(stack, fault.whom, fault.for_s)
    elif fault.kind == "jump":
        await _jump(stack, folder / CLOCK, fault)
    elif fault.kind == "full disk":
        await _fill_disk(stack, fault.whom, fault.for_s)
    elif fault.kind == "second worker":
        await _second_worker(stack, folder, fault.for_s)
    elif fault.kind == "kill stub":
        await _kill_stub(stack)
    elif fault.kind == "terminate":
        await asyncio.to_thread(local.restart, stack.data, fault.whom)
    else:
        await _kill(stack, fault.whom)


async def _disturb(proxy: Proxy, mode: Mode, for_s: float) -> None:
    proxy.be(mode)
    await asyncio.sleep(for_s)
    proxy.be(Mode.PASS)


async def _kill(stack: Stack, program: str) -> None:
    """Kill a program and wait until the supervisor has brought another one up, and it answers."""
    killed = await asyncio.to_thread(local.kill, stack.data, program)

    async def is_another() -> bool:
        with suppress(StackError):
            return await asyncio.to_thread(local.pid_of, stack.data, program) != killed
        return False

    await eventually(f"{program} is another process", is_another)
    await asyncio.to_thread(local.start, stack.data, program)


async def _freeze(stack: Stack, program: str, for_s: float) -> None:
    """Stop a program and all its children for a while: it wakes as if nothing had been."""
    family: list[psutil.Process] = []

    async def is_there() -> bool:
        family[:] = await asyncio.to_thread(_family, stack, program)
        return bool(family)

    await eventually(f"{program} runs, to be frozen", is_there)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGSTOP)
    await asyncio.sleep(for_s)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGCONT)


async def _jump(stack: Stack, file: Path, fault: Fault) -> None:
    """Let the services' clock jump, see that it has where one answers, and let it jump back."""
    clock.jump(file, fault.by_s)
    await asyncio.sleep(fault.for_s)
    off_s = await _clock_off_s(stack)
    clock.jump(file, 0)
    if off_s is not None and abs(off_s - fault.by_s) > 60:
        raise AssertionError(f"{fault}, but ingest's clock is off by {off_s:.0f} s")


async def _clock_off_s(stack: Stack) -> float | None:
    """Return how far ingest's clock is from ours; None where it does not answer just now."""
    try:
        async with httpx.AsyncClient(base_url=f"http://{stack.address('ingest')}", timeout=5) as client:
            said = (await client.get("/v1/books")).headers["date"]
    except httpx.TransportError:
        return None
    return parsedate_to_datetime(said).timestamp() - time.time()


async def _fill_disk(stack: Stack, program: str, for_s: float) -> None:
    """Let no file of a program grow for a while, also when it has started anew meanwhile: it gets an error instead.

    Then there is room again, and whoever looks after it starts it where it gave up.
    """
    until, limited = time.monotonic() + for_s, set[int]()
    while time.monotonic() < until:
        for member in await asyncio.to_thread(_family, stack, program):
            if member.pid not in limited:
                limited.add(member.pid)
                await _limit_files(member, "0")
        await asyncio.sleep(0.2)
    if not limited:  # where it did not run at all nothing went wrong, and the round must not say so
        raise AssertionError(f"{program} did not run while its disk was full")
    for member in await asyncio.to_thread(_family, stack, program):
        await _limit_files(member, "unlimited")
    await asyncio.to_thread(local.start, stack.data, program)
    if program == "s3" and not await _takes_objects(stack):
        await _kill(stack, program)


async def _takes_objects(stack: Stack) -> bool:
    """Say whether S3 takes an object again.

    Its filer's log database gives up for good once a write has failed; whoever looks after it starts it again.
    """
    store = open_store(stack.s3_endpoint, *stack.s3_keys())
    try:
        await store.put("uploads", "chaos/is-there-room", b"yes", "text/plain")
    except (Transient, ObjectRefused):
        return False
    return True


def _family(stack: Stack, program: str) -> list[psutil.Process]:
    """Return a program and all its children; nobody while it does not run."""
    with suppress(StackError, psutil.NoSuchProcess):
        head = psutil.Process(local.pid_of(stack.data, program))
        return [head, *head.children(recursive=True)]
    return []


async def _limit_files(process: psutil.Process, limit_bytes: str) -> None:
    """Limit the size of a process's files, as its own user: another one's limits only a real root may change."""
    with suppress(psutil.NoSuchProcess):
        user, group = process.uids().real, process.gids().real
        command = ("prlimit", "--pid", str(process.pid), f"--fsize={limit_bytes}:unlimited")
        changing = await asyncio.create_subprocess_exec(
            *command, stderr=asyncio.subprocess.DEVNULL, user=user, group=group, extra_groups=[]
        )
        await changing.wait()


async def _kill_stub(stack: Stack) -> None:
    """Kill one Python process of the model server; the server itself lives on."""
    stubs = [process for process in find_processes(stack.data) if "triton_python_backend_stub" in process.name()]
    stubs[0].kill()  # where there is none, nothing went wrong, and the round must not say so


def start_second_worker(stack: Stack, folder: Path) -> "subprocess.Popen[bytes]":
    """Add a screening worker that nobody supervises."""
    settings = services.build_environment("screen", stack.layout, find_binaries())
    port = choose_ports(["second"], {})["second"]
    mine = {"ROADLOOP_MEMBER": "screen-1", "ROADLOOP_HEALTH_PORT": str(port)}
    command = [str(find_binaries().python), "-m", "screen"]
    with (folder / "second.log").open("wb") as log:
        return subprocess.Popen(command, env=os.environ | settings | mine, stdout=log, stderr=log)


async def _second_worker(stack: Stack, folder: Path, for_s: float) -> None:
    """Add a screening worker, let it work for a while, and stop it in order."""
    process = start_second_worker(stack, folder)

    async def works() -> bool:
        said = await asyncio.to_thread((folder / "second.log").read_text)
        return "taken_over" in said or process.poll() is not None

    try:
        await eventually("the second worker has partitions", works)
        await asyncio.sleep(SHARES_S + for_s)
        process.terminate()
        await asyncio.to_thread(process.wait, GUARD_S)
    finally:
        process.kill()
