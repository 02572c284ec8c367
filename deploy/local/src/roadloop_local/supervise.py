"""Talk to the supervisor, which keeps a stack's programs running."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from roadloop_local.errors import StackError
from roadloop_local.layout import Layout, make_private
from roadloop_local.supervisor_files import EXPECTED_EXITS, config_path, socket


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor says of a program: its state in words, its process, seconds since its start.

    `given_up`: it will not be started again unless somebody asks for it.
    """

    state: str
    pid: int | None
    uptime_s: float
    given_up: bool = False


def start_supervisor(layout: Layout) -> None:
    """Start the supervisor in the background and wait until it answers."""
    make_private(layout.sockets)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROADLOOP_")}
    environment["ROADLOOP_STACK"] = str(layout.data)
    command = (sys.executable, "-m", "supervisor.supervisord", "-c", str(config_path(layout)))
    started = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 ours
    deadline = time.monotonic() + 10
    while not answers(layout):
        if started.returncode != 0 or time.monotonic() > deadline:
            raise StackError(
                f"the supervisor did not start: see {layout.data}/logs/supervisor.log {started.stderr.strip()}"
            )
        time.sleep(0.05)


@contextmanager
def connect(layout: Layout) -> Iterator[Any]:
    """Open the supervisor's interface; raise `StackError` where no supervisor runs."""
    transport = SupervisorTransport(None, None, f"unix://{socket(layout)}")
    proxy = ServerProxy("http://127.0.0.1", transport=transport)
    try:
        yield proxy.supervisor
    except (OSError, HTTPException) as error:
        raise StackError(
            f"the stack in {layout.data} is not running: run `roadloop up --data {layout.data}`"
        ) from error
    except Fault as fault:
        raise StackError(f"the supervisor of {layout.data} refused: {fault.faultString}") from fault
    finally:
        transport.close()


def answers(layout: Layout) -> bool:
    """Return whether this stack's supervisor runs."""
    try:
        with connect(layout) as supervisor:
            return bool(supervisor.getState()["statename"] == "RUNNING")
    except StackError:
        return False


def read_states(layout: Layout) -> dict[str, ProgramState]:
    """Return the state of every program the supervisor knows."""
    with connect(layout) as supervisor:
        infos = supervisor.getAllProcessInfo()
    return {info["name"]: read_state(info) for info in infos}


def read_state(info: dict[str, Any]) -> ProgramState:
    """Return one program's state from the supervisor's words."""
    state = info["statename"]
    given_up = state in ("FATAL", "STOPPED") or (state == "EXITED" and info["exitstatus"] in EXPECTED_EXITS)
    return ProgramState(state, info["pid"] or None, max(info["now"] - info["start"], 0), given_up)


def reload_config(layout: Layout) -> None:
    """Let the running supervisor take over a changed configuration; programs whose command changed are stopped."""
    with connect(layout) as supervisor:
        ((added, changed, removed),) = supervisor.reloadConfig()
        for name in (*changed, *removed):
            supervisor.stopProcessGroup(name)
            supervisor.removeProcessGroup(name)
        for name in (*added, *changed):
            supervisor.addProcessGroup(name)


def start_program(layout: Layout, name: str) -> None:
    """Tell the supervisor to start a program; one that runs already goes on."""
    tolerate(layout, Faults.ALREADY_STARTED, "startProcess", name)


def stop_programs(layout: Layout, names: Iterable[str], timeout_s: float = 40) -> None:
    """Stop programs, all at once, and wait until the last is gone.

    They are told until they stay stopped: one that has just died by itself does not run, and is started again after it.
    """
    names = set(names)
    deadline = time.monotonic() + timeout_s
    while left := [name for name, state in read_states(layout).items() if name in names and not state.given_up]:
        if time.monotonic() > deadline:
            raise StackError(f"{', '.join(left)} did not stop within {timeout_s:.0f} s: run `roadloop down` again")
        for name in left:
            tolerate(layout, Faults.NOT_RUNNING, "stopProcess", name)
        time.sleep(0.1)


def tolerate(layout: Layout, code: int, method: str, name: str) -> None:
    """Call the supervisor about one program, without waiting; the fault `code` means that it is so already."""
    with connect(layout) as supervisor:
        try:
            getattr(supervisor, method)(name, False)
        except Fault as fault:
            if fault.faultCode != code:
                raise
