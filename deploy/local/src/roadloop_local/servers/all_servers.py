"""The four servers of a stack, in one table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from roadloop_local.binaries import Binaries
from roadloop_local.layout import Layout
from roadloop_local.program import Program
from roadloop_local.servers import kafka, postgres, s3, triton


@dataclass(frozen=True)
class Server:
    """How to run a server: files to lay down, the program, a real check of health, what to make in it once."""

    ports: tuple[str, ...]
    secrets: tuple[str, ...]
    lay_down: Callable[[Layout, Binaries], None]
    describe_program: Callable[[Layout, Binaries], Program]
    check: Callable[[Layout], Awaitable[None]]
    prepare: Callable[[Layout], Awaitable[None]]


SERVERS = {
    "kafka": Server(kafka.PORTS, kafka.SECRETS, kafka.lay_down, kafka.describe_program, kafka.check, kafka.prepare),
    "postgres": Server(
        postgres.PORTS, postgres.SECRETS, postgres.lay_down, postgres.describe_program, postgres.check, postgres.prepare
    ),
    "s3": Server(s3.PORTS, s3.SECRETS, s3.lay_down, s3.describe_program, s3.check, s3.prepare),
    "triton": Server(
        triton.PORTS, triton.SECRETS, triton.lay_down, triton.describe_program, triton.check, triton.prepare
    ),
}
