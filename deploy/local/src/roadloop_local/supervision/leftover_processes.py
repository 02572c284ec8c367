"""Find and remove what a stack left behind: processes, sockets and shared memory."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from roadloop_local.errors import StackError
from roadloop_local.layout import Layout
from roadloop_local.servers import s3
from roadloop_local.supervision.signs_of_life import PATIENCE_S


def find_processes(data: Path) -> list[psutil.Process]:
    """Return the processes that carry this stack's mark in their environment, this one and its ancestors left out."""
    spared_pids = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process for process in psutil.process_iter() if process.pid not in spared_pids and carries_mark(process, data)
    ]


def carries_mark(process: psutil.Process, data: Path) -> bool:
    """Return whether a process was started by the stack in `data`."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("ROADLOOP_STACK") == str(data)
    except (psutil.Error, OSError):
        return False


def find_files(layout: Layout) -> Iterator[Path]:
    """Return the stack's sockets and shared memory outside its data folder."""
    yield from Path("/dev/shm").glob(f"{layout.shm_prefix}*")  # noqa: S108 shared memory has no other place
    temporary = Path("/tmp")  # noqa: S108 SeaweedFS puts its sockets there
    for port in s3.PORTS:
        yield from temporary.glob(f"seaweedfs-*-{layout.ports[port]}.sock")
    if layout.sockets.exists():
        yield layout.sockets


def sweep(layout: Layout, grace_s: float = 15) -> list[str]:
    """Stop the stack's processes, politely first, and remove its files; return the names of what was there."""
    processes = find_processes(layout.data)
    names = [stop(process) for process in processes]
    psutil.wait_procs(processes, timeout=grace_s)
    kill_all(layout.data)
    for path in find_files(layout):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return names


def kill_all(data: Path) -> None:
    """Kill the stack's processes until none is there; raise `StackError` where one outlives that by minutes."""
    until = time.monotonic() + PATIENCE_S
    while processes := find_processes(data):
        if time.monotonic() > until:
            pids = ", ".join(str(process.pid) for process in processes)
            raise StackError(f"processes {pids} were killed and do not end: see what they wait for, then try again")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.05)


def stop(process: psutil.Process) -> str:
    """Ask one process to end and return its name; INT is PostgreSQL's fast stop."""
    try:
        name = process.name()
        process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
    except psutil.NoSuchProcess:
        return "gone"
    return name
