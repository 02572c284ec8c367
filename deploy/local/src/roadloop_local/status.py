"""What runs, where, since when, and whether it answers."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from roadloop_local import services
from roadloop_local.errors import NotReadyError
from roadloop_local.health import check
from roadloop_local.layout import Layout
from roadloop_local.servers.all_servers import SERVERS
from roadloop_local.services import SERVICES
from roadloop_local.supervision import supervisord_client
from roadloop_local.supervision.supervisord_client import ProgramState

ABSENT = ProgramState("STOPPED", None, 0)


@dataclass(frozen=True)
class ProgramStatus:
    """One line of `roadloop status`."""

    name: str
    state: str
    pid: int | None
    ports: Mapping[str, int]
    uptime_s: float
    healthy: bool

    def as_json(self) -> dict[str, object]:
        """Return the values as JSON has them."""
        return asdict(self)


async def read_status(layout: Layout) -> list[ProgramStatus]:
    """Ask the supervisor and every program that runs; a stack that is down has everything stopped."""
    states = supervisord_client.read_states(layout) if supervisord_client.answers(layout) else {}
    names = (*SERVERS, *SERVICES)
    return list(await asyncio.gather(*(read_program_status(layout, name, states.get(name, ABSENT)) for name in names)))


async def read_program_status(layout: Layout, name: str, state: ProgramState) -> ProgramStatus:
    """Return one program's line."""
    ports = SERVERS[name].ports if name in SERVERS else services.list_port_names(name)
    numbers = {port: layout.ports[port] for port in ports if port in layout.ports}
    healthy = state.pid is not None and await is_healthy(layout, name)
    uptime_s = state.uptime_s if state.pid else 0
    return ProgramStatus(name, state.state.lower(), state.pid, numbers, uptime_s, healthy)


async def is_healthy(layout: Layout, name: str) -> bool:
    """Return whether a program answers now."""
    try:
        await check(layout, name)
    except NotReadyError:
        return False
    return True
