"""Wait until programs really answer, and say what to do when one does not."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable

from roadloop_local import services, supervise
from roadloop_local.errors import NotReadyError, StackError
from roadloop_local.layout import Layout
from roadloop_local.ports import is_free
from roadloop_local.servers import SERVERS

WANTED_FREE_BYTES = 1 << 30
LOG_LINES = 15


def refuse_full_disk(layout: Layout) -> None:
    """Raise `StackError` where the disk has less than 1 GiB left."""
    free = shutil.disk_usage(layout.data).free
    if free < WANTED_FREE_BYTES:
        raise StackError(
            f"{layout.data} has {free >> 20} MiB free and a stack wants 1024: free some, or choose another --data"
        )


def refuse_taken_ports(layout: Layout, names: Iterable[str]) -> None:
    """Raise `StackError` where a port of a program that does not run yet is in use."""
    for name in names:
        ports = SERVERS[name].ports if name in SERVERS else services.port_names(name)
        for port in ports:
            if not is_free(layout.ports[port]):
                raise StackError(
                    f"port {layout.ports[port]}, wanted by {name}, is taken by another program: stop that program, "
                    f"or change `{port}` in {layout.data / 'stack.json'}, then run `roadloop up` again"
                )


async def check(layout: Layout, name: str) -> None:
    """Ask one server or service whether it is ready; raise `NotReadyError` until it is."""
    try:
        async with asyncio.timeout(10):
            await (SERVERS[name].check(layout) if name in SERVERS else services.check(name, layout))
    except TimeoutError:
        raise NotReadyError(f"{name}: no answer within 10 s") from None


async def wait_ready(layout: Layout, names: Iterable[str], timeout_s: float, report: Callable[[str], None]) -> None:
    """Wait for all of them together; raise `StackError` at the first that fails or takes too long."""
    try:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(wait_one(layout, name, time.monotonic() + timeout_s, report))
    except BaseExceptionGroup as group:
        first = next((error for error in group.exceptions if isinstance(error, StackError)), group)
        raise first from None


async def wait_one(layout: Layout, name: str, deadline: float, report: Callable[[str], None]) -> None:
    """Ask one program again and again until it is ready, has failed, or the time is up."""
    started = time.monotonic()
    while True:
        try:
            await check(layout, name)
        except NotReadyError as reason:
            state = (await asyncio.to_thread(supervise.read_states, layout))[name]
            if state.given_up:
                raise failure(layout, name, f"{name} stopped by itself ({state.state.lower()})") from None
            if time.monotonic() > deadline:
                raise failure(layout, name, f"{name} is not ready in time ({reason})") from None
            await asyncio.sleep(0.1)
        else:
            report(f"{name} is ready ({time.monotonic() - started:.1f} s)")
            return


def failure(layout: Layout, name: str, what: str) -> StackError:
    """Return an error with the last lines of a program's log and what to do."""
    log = layout.log(name)
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    advice = f"{what}: read {log}, mend it, then run `roadloop up --data {layout.data}` again"
    return StackError("\n".join([*(f"  {name} | {line}" for line in lines), advice]))
