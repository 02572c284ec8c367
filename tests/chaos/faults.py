"""What goes wrong in a round: a program is killed, frozen or stopped, or a server is slow, cut or in error."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from roadloop_local import services
from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.binaries import find_binaries
from roadloop_local.errors import StackError
from roadloop_local.leftovers import find_processes
from roadloop_local.ports import choose_ports
from tests.chaos.proxy import Mode, Proxy
from tests.waiting import eventually

SERVICES = ("ingest", "screen", "screen-rollout", "label-router", "trainer-trigger")
SERVERS = ("kafka", "postgres", "s3", "triton")
PROXIED = ("kafka", "postgres", "s3")
PAST_THE_SESSION_S = 8.0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, for a while where it lasts."""

    kind: str
    whom: str
    for_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.whom}" + (f" for {self.for_s:g} s" if self.for_s else "")


def draw(dice: Random) -> Fault:
    """Draw what goes wrong."""
    kind = dice.choices(
        ("kill", "freeze", "terminate", "kill server", "freeze server", "kill stub", "network", "second worker"),
        (5, 3, 3, 4, 2, 1, 5, 2),
    )[0]
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
    pid = await asyncio.to_thread(local.pid_of, stack.data, program)
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGSTOP)
    await asyncio.sleep(for_s)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGCONT)


async def _kill_stub(stack: Stack) -> None:
    """Kill one Python process of the model server; the server itself lives on."""
    stubs = [process for process in find_processes(stack.data) if "triton_python_backend_stub" in process.name()]
    stubs[0].kill()  # where there is none, nothing went wrong, and the round must not say so


async def _second_worker(stack: Stack, folder: Path, for_s: float) -> None:
    """Add a screening worker, let it work for a while, and stop it in order."""
    settings = services.environment("screen", stack.layout, find_binaries())
    port = choose_ports(["second"], {})["second"]
    mine = {"ROADLOOP_MEMBER": "screen-1", "ROADLOOP_HEALTH_PORT": str(port)}
    command = [str(find_binaries().python), "-m", "screen"]
    with (folder / "second.log").open("ab") as log:
        process = subprocess.Popen(command, env=os.environ | settings | mine, stdout=log, stderr=log)
    await asyncio.sleep(5.0 + for_s)
    process.terminate()
    await asyncio.to_thread(process.wait, 30)
