"""The files the supervisor reads and makes."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from roadloop_local.layout import Layout
from roadloop_local.private_files import write_private
from roadloop_local.program import Program

SUPERVISOR = """\
[supervisord]
logfile={data}/logs/supervisor.log
pidfile={pidfile}
childlogdir={data}/logs
directory={data}
identifier=roadloop
user={user}
[unix_http_server]
file={socket}
chmod=0600
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
"""

# 78 (EX_CONFIG) is how a program says: starting me again will not help.
EXPECTED_EXITS = (0, 78)
PROGRAM = """\
[program:{name}]
command={command}
autostart=false
autorestart=unexpected
exitcodes={expected_exits}
startsecs={settle_s}
startretries=5
stopsignal={stop_signal}
stopwaitsecs={stop_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""


def socket_path(layout: Layout) -> Path:
    """Return the supervisor's socket."""
    return layout.sockets / "supervisor.sock"


def pid_path(layout: Layout) -> Path:
    """Return the file that holds the supervisor's process id."""
    return layout.data / "supervisor" / "pid"


def environment_path(layout: Layout, name: str) -> Path:
    """Return the file that holds what a program gets in its environment."""
    return layout.data / "supervisor" / f"{name}.json"


def write_config(layout: Layout, programs: Iterable[Program]) -> None:
    """Write the supervisor's configuration."""
    (layout.data / "logs").mkdir(exist_ok=True)
    user = "root" if os.geteuid() == 0 else ""
    head = SUPERVISOR.format(data=layout.data, pidfile=pid_path(layout), socket=socket_path(layout), user=user)
    head = head.replace("user=\n", "")
    write_private(config_path(layout), "".join([head, *(format_section(layout, program) for program in programs)]))


def config_path(layout: Layout) -> Path:
    """Return the supervisor's configuration file."""
    return layout.data / "supervisor" / "supervisord.conf"


def format_section(layout: Layout, program: Program) -> str:
    """Return a program's section of the configuration: the command behind the one that lets it die with its parent."""
    options = (f"--signal={program.death_signal}", f"--parent={pid_path(layout)}")
    environment = f"--environment={environment_path(layout, program.name)}"
    command = (
        sys.executable,
        "-m",
        "roadloop_local.supervision.parent_death",
        *options,
        environment,
        "--",
        *program.command,
    )
    return PROGRAM.format(
        name=program.name,
        command=shlex.join(command).replace("%", "%%"),
        expected_exits=",".join(map(str, EXPECTED_EXITS)),
        settle_s=program.settle_s,
        stop_signal=program.stop_signal,
        stop_s=program.stop_s,
        log=layout.log(program.name),
    )
