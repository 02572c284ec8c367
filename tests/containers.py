"""The servers of `deploy/compose.yaml` in containers, behind the same `Stack` as the processes.

Run against Docker with images built after the official ones, not yet with those: so only used where it is asked for.
Triton stays a process even so: its image lacks the Python packages that our models run on.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from testcontainers.core.container import DockerContainer

from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.binaries import REPOSITORY, find_binaries
from roadloop_local.layout import Layout
from roadloop_local.servers import s3
from roadloop_local.servers.all_servers import SERVERS
from roadloop_local.status import is_healthy
from tests.waiting import eventually

INNER_PORTS = {"kafka": 9092, "postgres": 5432, "s3": 8333}
LOG_BYTES = 2000


@contextmanager
def run_in_containers(data: Path) -> Iterator[Stack]:
    """Start the servers on the ports and with the secrets that a stack in this folder would have, and end them."""
    with ExitStack() as running:
        running.callback(local.down, data, purge=True)
        layout = local.up(data, ("triton",)).layout
        s3.lay_down(layout, find_binaries())
        described = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())["services"]
        started = {name: running.enter_context(container(name, described[name], layout)) for name in INNER_PORTS}
        asyncio.run(prepare(layout, started))
        yield Stack(layout)


def container(name: str, described: Mapping[str, Any], layout: Layout) -> DockerContainer:
    """Return one server as `compose.yaml` describes it, but with the layout's port and secrets."""
    made = DockerContainer(described["image"]).with_envs(**{**described["environment"], **environment(name, layout)})
    made.ports[str(INNER_PORTS[name])] = ("127.0.0.1", layout.ports[name])
    if name == "s3":
        identities = layout.data / "s3" / "identities.json"
        # the image runs it as user 1000, whoever owns the file; the stack's own folder keeps others on this host out
        identities.chmod(0o644)
        made.with_volume_mapping(identities, "/run/secrets/identities", "ro")
    return made.with_command(described["command"]) if "command" in described else made


def environment(name: str, layout: Layout) -> Mapping[str, str]:
    """Return the variables that `compose.yaml` has otherwise: what is told to clients, and the password."""
    advertised = f"PLAINTEXT://{layout.address('kafka')},INTERNAL://localhost:29092"
    mine = {
        "kafka": {"KAFKA_ADVERTISED_LISTENERS": advertised},
        "postgres": {"POSTGRES_PASSWORD": layout.secrets["postgres.postgres"]},
    }
    return mine.get(name, {})


async def prepare(layout: Layout, started: Mapping[str, DockerContainer]) -> None:
    """Wait until each server answers, and make in it what the services expect."""
    for name, server in started.items():
        await eventually(f"{name} answers", partial(is_healthy, layout, name), moving=partial(last_words, server))
        await SERVERS[name].prepare(layout)


async def last_words(server: DockerContainer) -> str:
    """Return the end of what a server printed."""
    printed = await asyncio.to_thread(server.get_logs)
    return b"".join(printed)[-LOG_BYTES:].decode(errors="replace")
