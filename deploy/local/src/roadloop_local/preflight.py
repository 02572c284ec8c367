"""What is checked before anything is started: room on the disk, and ports that nobody else has."""

import shutil
from collections.abc import Iterable

from roadloop_local import services
from roadloop_local.errors import StackError
from roadloop_local.layout import Layout
from roadloop_local.ports import is_free
from roadloop_local.servers.all_servers import SERVERS

WANTED_FREE_BYTES = 1 << 30


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
        ports = SERVERS[name].ports if name in SERVERS else services.list_port_names(name)
        for port in ports:
            if not is_free(layout.ports[port]):
                raise StackError(
                    f"port {layout.ports[port]}, wanted by {name}, is taken by another program: stop that program, "
                    f"or change `{port}` in {layout.data / 'stack.json'}, then run `roadloop up` again"
                )
