"""Wait until programs really answer, and say what to do when one does not."""

import asyncio
import time
from collections.abc import Callable, Iterable

from roadloop_local import services_setup
from roadloop_local.errors import NotReadyError, StackError
from roadloop_local.layout import Layout
from roadloop_local.servers.all_servers import SERVERS
from roadloop_local.supervision import supervisord_client
from roadloop_local.supervision.signs_of_life import Patience, read_signs

LOG_LINES = 15
ASK_EVERY_S, TELL_EVERY_S = 0.25, 30.0
CHECK_S = 60.0  # for one answer: who is that slow is asked again


async def check(layout: Layout, name: str) -> None:
    """Ask one server or service whether it is ready; raise `NotReadyError` until it is."""
    try:
        async with asyncio.timeout(CHECK_S):
            await (SERVERS[name].check(layout) if name in SERVERS else services_setup.check(name, layout))
    except TimeoutError:
        raise NotReadyError(f"{name}: no answer within {CHECK_S:.0f} s") from None


async def wait_until_all_ready(
    layout: Layout, names: Iterable[str], timeout_s: float, report: Callable[[str], None]
) -> None:
    """Wait for all of them together; raise `StackError` at the first that gave up or shows no sign of life."""
    try:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(wait_until_ready(layout, name, timeout_s, report))
    except BaseExceptionGroup as group:
        first = next((error for error in group.exceptions if isinstance(error, StackError)), group)
        raise first from None


async def wait_until_ready(layout: Layout, name: str, timeout_s: float, report: Callable[[str], None]) -> None:
    """Ask one program again and again until it is ready, however long that takes.

    Raises `StackError` where it gave up by itself or has shown no sign of life for `timeout_s`.
    """
    started_at = reported_at = time.monotonic()
    patience = Patience(timeout_s, started_at)
    while reason := await ask_why_not_ready(layout, name):
        if verdict := await asyncio.to_thread(look_at_program, layout, name, reason, patience):
            raise make_error(layout, name, verdict)
        if time.monotonic() - reported_at >= TELL_EVERY_S:
            reported_at = time.monotonic()
            report(f"still waiting for {name} after {reported_at - started_at:.0f} s ({reason})")
        await asyncio.sleep(ASK_EVERY_S)
    report(f"{name} is ready ({time.monotonic() - started_at:.1f} s)")


async def ask_why_not_ready(layout: Layout, name: str) -> str:
    """Ask a program once; return nothing where it is ready."""
    try:
        await check(layout, name)
    except NotReadyError as reason:
        return str(reason) or "it does not say why"
    return ""


def look_at_program(layout: Layout, name: str, reason: str, patience: Patience) -> str:
    """Return why a program that is not ready never will be; nothing while there is hope."""
    state = supervisord_client.read_states(layout)[name]
    if state.given_up:
        return f"{name} stopped by itself ({state.state.lower()})"
    processes = supervisord_client.find_process(state)
    signs = read_signs(processes, layout.log(name), state.state, state.pid, reason)
    verdict = patience.look(signs, time.monotonic())
    return f"{name} is not ready and {verdict} ({reason})" if verdict else ""


def make_error(layout: Layout, name: str, verdict: str) -> StackError:
    """Return an error with the last lines of a program's log and what to do."""
    log = layout.log(name)
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    advice = f"{verdict}: read {log}, mend it, then run `roadloop up --data {layout.data}` again"
    return StackError("\n".join([*(f"  {name} | {line}" for line in lines), advice]))
