"""PostgreSQL: one database, and for each service a role that owns its own schema and nothing else."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from roadloop_local.binaries import Binaries
from roadloop_local.errors import StackError
from roadloop_local.layout import Layout
from roadloop_local.private_files import write_private
from roadloop_local.program import Program

PORTS = ("postgres",)
ADMIN = "postgres"
ROLES = ("ingest", "label_router", "screen", "trainer_trigger")
SECRETS = tuple(f"postgres.{role}" for role in (ADMIN, *ROLES))
DATABASE = "roadloop"

# PostgreSQL refuses to run as root. There it runs as this user, who keeps root's way through folders.
UNPRIVILEGED = "nobody"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # files in the data folder: a killed server leaves nothing in /dev/shm
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def cluster_path(layout: Layout) -> Path:
    """Return the folder that PostgreSQL owns."""
    return layout.data / "postgres" / "cluster"


def drop_root() -> tuple[str, ...]:
    """Return what goes before a command so that it does not run as root; nothing where nobody is root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise StackError(
            "PostgreSQL refuses to run as root: run `roadloop up` as an ordinary user, or install util-linux"
        )
    account = pwd.getpwnam(UNPRIVILEGED)
    user = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
    # access(2) asks with the real user and without capabilities, unless the fix-up is off: initdb looks for its
    # neighbours that way, and they may lie under root's own 0700 home
    capabilities = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    return ("setpriv", *user, *capabilities, "--pdeathsig=INT")


def lay_down(layout: Layout, binaries: Binaries) -> None:
    """Make the cluster once, all of it or nothing."""
    if (cluster_path(layout) / "PG_VERSION").exists():
        return
    folder = layout.data / "postgres"
    folder.mkdir(exist_ok=True)
    partial, password = folder / "cluster.partial", folder / "password"
    shutil.rmtree(partial, ignore_errors=True)
    write_private(password, layout.secrets[f"postgres.{ADMIN}"])
    if os.geteuid() == 0:
        for path in (folder, password):
            shutil.chown(path, UNPRIVILEGED)
    make_cluster(binaries, partial, password)
    password.unlink()
    partial.rename(cluster_path(layout))


def make_cluster(binaries: Binaries, folder: Path, password: Path) -> None:
    """Run `initdb`; passwords are wanted on every connection."""
    options = (f"--pgdata={folder}", f"--username={ADMIN}", f"--pwfile={password}", "--auth=scram-sha-256")
    command = (
        *drop_root(),
        str(binaries.postgres / "initdb"),
        *options,
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
    )
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603 the command is ours
    if process.returncode != 0:
        last = (process.stdout + process.stderr).strip().splitlines()[-1:] or [f"exit {process.returncode}"]
        raise StackError(
            f"initdb failed in {folder} ({last[0]}): check its owner and the disk, then run `roadloop up` again"
        )


def describe_program(layout: Layout, binaries: Binaries) -> Program:
    """Return the server as a program; INT is PostgreSQL's fast stop, TERM would wait for its clients."""
    settings = SETTINGS | {"port": str(layout.ports["postgres"])}
    options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
    command = (*drop_root(), str(binaries.postgres / "postgres"), "-D", str(cluster_path(layout)), *options)
    return Program("postgres", command, stop_signal="INT", death_signal="INT")


def dsn(layout: Layout, role: str, database: str = DATABASE) -> str:
    """Return the address to connect to as `role`."""
    return f"postgresql://{role}:{layout.secrets[f'postgres.{role}']}@{layout.address('postgres')}/{database}"


async def check(layout: Layout) -> None:
    """Run `select 1`; raise `NotReadyError` until it answers."""
    # the client is imported by whoever connects: `roadloop env` does not
    from roadloop_local.servers import postgres_setup

    await postgres_setup.check(layout)


async def prepare(layout: Layout) -> None:
    """Make the database, the roles and their schemas; what exists stays."""
    from roadloop_local.servers import postgres_setup

    await postgres_setup.prepare(layout)
