"""Talk to the supervisor, which keeps a stack's programs running."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from roadloop_local.errors import StackError
from roadloop_local.layout import Layout
from roadloop_local.private_files import make_private
from roadloop_local.supervision.leftover_processes import find_processes
from roadloop_local.supervision.signs_of_life import PATIENCE_S, Patience, Signs, read_signs
from roadloop_local.supervision.supervisord_config import EXPECTED_EXITS, config_path, socket_path


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
    """Start the supervisor in the background and wait until it answers.

    Raises `StackError` where it ended, or has shown no sign of life for long.
    """
    make_private(layout.sockets)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROADLOOP_")}
    environment["ROADLOOP_STACK"] = str(layout.data)
    command = (sys.executable, "-m", "supervisor.supervisord", "-c", str(config_path(layout)))
    supervisord = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 ours
    patience = Patience(PATIENCE_S, time.monotonic())
    while not answers(layout):
        verdict = (
            look_at_supervisor(layout, patience) if supervisord.returncode == 0 else f"exit {supervisord.returncode}"
        )
        if verdict:
            raise StackError(
                f"the supervisor did not start ({verdict}): see {supervisor_log_path(layout)} "
                f"{supervisord.stderr.strip()}"
            )
        time.sleep(0.1)


def look_at_supervisor(layout: Layout, patience: Patience) -> str:
    """Return why a supervisor that does not answer never will; nothing while there is hope."""
    processes = find_processes(layout.data)
    if not processes:
        return "its process is gone"
    return patience.look(read_signs(processes, supervisor_log_path(layout)), time.monotonic())


def supervisor_log_path(layout: Layout) -> Path:
    """Return the file in which the supervisor says what it does."""
    return layout.log("supervisor")


@contextmanager
def connect(layout: Layout) -> Iterator[Any]:
    """Open the supervisor's interface; raise `StackError` where no supervisor runs."""
    transport = SupervisorTransport(None, None, f"unix://{socket_path(layout)}")
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


def find_process(state: ProgramState) -> list[psutil.Process]:
    """Return the process that a program runs as, none where it does not run."""
    try:
        return [psutil.Process(state.pid)] if state.pid else []
    except psutil.NoSuchProcess:
        return []


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


def stop_programs(layout: Layout, names: Iterable[str], patience_s: float = PATIENCE_S) -> None:
    """Stop programs, all at once, and wait until the last is gone.

    They are told until they stay stopped: one that has just died by itself does not run, and is started again after it.
    The supervisor kills what has not stopped in the time it was given. Raises `StackError` where even so nothing has
    changed for `patience_s` on top of that.
    """
    names = set(names)
    patience = Patience(patience_s + read_longest_stop_s(layout, names), time.monotonic())
    while running := {
        name: state for name, state in read_states(layout).items() if name in names and not state.given_up
    }:
        states = [(name, state.state, state.pid) for name, state in sorted(running.items())]
        if verdict := patience.look(Signs(states), time.monotonic()):
            described = ", ".join(f"{name} ({state.lower()})" for name, state, _ in states)
            raise StackError(f"{described} did not stop, {verdict}: run `roadloop down` again")
        for name in running:
            tolerate(layout, Faults.NOT_RUNNING, "stopProcess", name)
        time.sleep(0.1)


def read_longest_stop_s(layout: Layout, names: Iterable[str]) -> float:
    """Return for how long the supervisor waits for the most patient of these programs before it kills it."""
    with connect(layout) as supervisor:
        stop_seconds = {program["name"]: program["stopwaitsecs"] for program in supervisor.getAllConfigInfo()}
    return max((float(stop_seconds[name]) for name in names if name in stop_seconds), default=0.0)


def tolerate(layout: Layout, code: int, method: str, name: str) -> None:
    """Call the supervisor about one program, without waiting; the fault `code` means that it is so already."""
    with connect(layout) as supervisor:
        try:
            getattr(supervisor, method)(name, False)
        except Fault as fault:
            if fault.faultCode != code:
                raise
