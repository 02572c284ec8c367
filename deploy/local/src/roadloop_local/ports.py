"""Choose loopback ports once per stack and notice when a stranger holds one."""

import random
import socket
from collections.abc import Iterable, Mapping

# Below the kernel's ephemeral range, so that no outgoing connection takes a port while the stack is down.
FIRST_PORT, LAST_PORT = 20_000, 32_000


def is_free(port: int) -> bool:
    """Return whether a server could bind `port` on the loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(names: Iterable[str], kept: Mapping[str, int]) -> dict[str, int]:
    """Return a port for every name: the kept one where there is one, else a free one."""
    ports = dict(kept)
    for name in names:
        while name not in ports:
            port = random.randint(FIRST_PORT, LAST_PORT)
            if port not in ports.values() and is_free(port):
                ports[name] = port
    return ports
