"""Open, start and stop a stack; the same functions serve the commands, the tests and the demo."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from roadloop_local import services, services_setup
from roadloop_local.addresses import Stack
from roadloop_local.binaries import Binaries, find_binaries
from roadloop_local.errors import StackError
from roadloop_local.health import wait_until_all_ready
from roadloop_local.layout import Layout, read_layout
from roadloop_local.preflight import refuse_full_disk, refuse_taken_ports
from roadloop_local.private_files import write_private
from roadloop_local.program import Program
from roadloop_local.servers.all_servers import SERVERS
from roadloop_local.services import SERVICES
from roadloop_local.settle_layout import settle_layout
from roadloop_local.supervision import supervisord_client, supervisord_config
from roadloop_local.supervision.leftover_processes import sweep
from roadloop_local.supervision.signs_of_life import PATIENCE_S

Report = Callable[[str], None]
EVERYTHING = (*SERVERS, *SERVICES)
SERVERS_ONLY = tuple(SERVERS)


def be_silent(line: str) -> None:
    """Report nothing."""


def open_stack(data: Path | str) -> Stack:
    """Return the addresses and keys of the stack in a folder, running or not."""
    return Stack(read_layout(Path(data).resolve()))


def up(
    data: Path | str,
    programs: Iterable[str] = EVERYTHING,
    *,
    environment: Mapping[str, str] | None = None,
    reach: Mapping[str, int] | None = None,
    timeout_s: float = PATIENCE_S,
    report: Report = be_silent,
) -> Stack:
    """Start programs (servers first), prepare them and wait until they answer.

    What runs already goes on, except a service whose settings changed. `environment` is added to every service;
    `reach` has the ports at which services reach servers, where those are not the servers' own: of a proxy, say.
    `timeout_s` is for how long a program that does not answer may show no sign of life: how slow it is never counts.
    Raises `StackError`, whose last line says what to do.
    """
    folder, names = Path(data).resolve(), tuple(programs)
    layout = settle(folder)
    with lock(layout):
        refuse_full_disk(layout)
        changed = lay_out(layout.with_reach(reach or {}), names, environment or {}, report)
        servers = [name for name in names if name in SERVERS]
        start_all(layout, servers, changed, timeout_s, report)
        asyncio.run(prepare(layout, servers))
        wanted_services = [name for name in names if name in SERVICES]
        if wanted_services:
            report("making topics and schemas")
            asyncio.run(services_setup.prepare(layout))
            start_all(layout, wanted_services, changed, timeout_s, report)
    return Stack(layout)


def settle(data: Path) -> Layout:
    """Return the folder's layout with a port and a secret for everything there is."""
    ports = [port for server in SERVERS.values() for port in server.ports]
    ports += [port for name in SERVICES for port in services.list_port_names(name)]
    keys = [key for server in SERVERS.values() for key in server.secrets]
    return settle_layout(data, ports, [*keys, *services.SECRETS])


@contextmanager
def lock(layout: Layout) -> Iterator[None]:
    """Let one `up` or `down` at a time work on a stack; the others wait."""
    with (layout.data / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lay_out(layout: Layout, names: tuple[str, ...], environment: Mapping[str, str], report: Report) -> set[str]:
    """Write every file the programs need, see that the supervisor runs; return the programs whose settings changed."""
    binaries = find_binaries()
    running = supervisord_client.answers(layout)
    if not running and (leftovers := sweep(layout)):
        report(f"removed what an earlier run left: {', '.join(sorted(set(leftovers)))}")
    states = supervisord_client.read_states(layout) if running else {}
    idle = [name for name in names if name not in states or states[name].pid is None]
    refuse_taken_ports(layout, idle)
    for name in idle:
        if name in SERVERS:
            report(f"laying out {name}")
            SERVERS[name].lay_down(layout, binaries)
    programs = describe_programs(layout, binaries, environment)
    supervisord_config.write_config(layout, programs)
    changed = {program.name for program in programs if write_environment(layout, program, names)}
    supervisord_client.reload_config(layout) if running else supervisord_client.start_supervisor(layout)
    return changed


def describe_programs(layout: Layout, binaries: Binaries, environment: Mapping[str, str]) -> list[Program]:
    """Return all programs, wanted or not, so that the supervisor knows each of them."""
    servers = [server.describe_program(layout, binaries) for server in SERVERS.values()]
    return servers + [services.describe_program(name, layout, binaries, environment) for name in SERVICES]


def write_environment(layout: Layout, program: Program, names: tuple[str, ...]) -> bool:
    """Keep a program's variables in a private file; return whether they changed. Who is not wanted keeps the old."""
    path = supervisord_config.environment_path(layout, program.name)
    text = json.dumps(dict(program.environment), indent=2)
    if path.exists() and (program.name not in names or path.read_text() == text):
        return False
    write_private(path, text)
    return True


def start_all(layout: Layout, names: list[str], changed: set[str], timeout_s: float, report: Report) -> None:
    """Start programs together and wait until all of them answer; see `up` for `timeout_s`."""
    supervisord_client.stop_programs(layout, [name for name in names if name in changed])
    for name in names:
        supervisord_client.start_program(layout, name)
    asyncio.run(wait_until_all_ready(layout, names, timeout_s, report))


async def prepare(layout: Layout, servers: list[str]) -> None:
    """Make what the services expect to find in the servers."""
    for name in servers:
        await SERVERS[name].prepare(layout)


def down(data: Path | str, *, purge: bool = False, report: Report = be_silent) -> None:
    """Stop everything and leave no process, socket or shared memory; `purge` deletes the data too.

    What runs is what the supervisor knows: an older version has other services.
    """
    layout = read_layout(Path(data).resolve())
    with lock(layout):
        if supervisord_client.answers(layout):
            running = supervisord_client.read_states(layout)
            report("stopping services")
            supervisord_client.stop_programs(layout, [name for name in running if name not in SERVERS])
            report("stopping servers")
            supervisord_client.stop_programs(layout, [name for name in running if name in SERVERS])
        sweep(layout)
        if purge:
            shutil.rmtree(layout.data)


def start(data: Path | str, program: str, *, timeout_s: float = PATIENCE_S) -> None:
    """Start one program of a running stack and wait until it answers."""
    start_all(read_layout(Path(data).resolve()), [program], set(), timeout_s, be_silent)


def stop(data: Path | str, program: str) -> None:
    """Stop one program and wait until it is gone."""
    supervisord_client.stop_programs(read_layout(Path(data).resolve()), [program])


def restart(data: Path | str, program: str, *, timeout_s: float = PATIENCE_S) -> None:
    """Stop one program, start it again and wait until it answers."""
    stop(data, program)
    start(data, program, timeout_s=timeout_s)


def kill(data: Path | str, program: str, signal_number: int = signal.SIGKILL) -> int:
    """Send a signal to one program, behind the supervisor's back; return the process id it had."""
    pid = pid_of(data, program)
    os.kill(pid, signal_number)
    return pid


def pid_of(data: Path | str, program: str) -> int:
    """Return the process id of a running program; raise `StackError` where it does not run."""
    states = supervisord_client.read_states(read_layout(Path(data).resolve()))
    if program not in states:
        raise StackError(f"no program {program}: there are {', '.join(EVERYTHING)}")
    pid = states[program].pid
    if pid is None:
        raise StackError(f"{program} does not run ({states[program].state.lower()}): start it with `roadloop up`")
    return pid
