"""A simulated worker: the real loop in a process that is started, killed, frozen and restarted."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import immutables

from roadloop_runtime.broker import Member
from roadloop_runtime.loop.identity import EXIT_STAY_ENDED, Identity
from roadloop_runtime.loop.limits import Limits
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outbox.publisher import publish_for_ever
from roadloop_runtime.records import Partition
from roadloop_runtime.service import lifecycle
from roadloop_runtime.settlement.kafka_settlement import KafkaSettlement
from roadloop_runtime.settlement.postgres_settlement import PostgresSettlement
from roadloop_runtime.settlement.protocols import Settlement
from tests.simulation import work
from tests.simulation.servers.broker import SimulatedBroker
from tests.simulation.servers.client import SimulatedKafka
from tests.simulation.servers.clock import OUTSIDE, Process, spawn
from tests.simulation.servers.database import POSTGRES, SimulatedDatabase, SimulatedOffsets, SimulatedRows, hang_up_soon
from tests.simulation.servers.network import Network

LIMITS = Limits(in_flight=48, observing=12, batch=12, settle_interval_s=0.03, idle_s=0.25, drain_s=0.6)
RESTART_S = 0.3
NEVER_S = 1e9


@dataclass
class Servers:
    """What the workers share: they outlive every worker."""

    broker: SimulatedBroker
    database: SimulatedDatabase
    network: Network
    to_postgres: bool
    store_is_up: bool = True


@dataclass
class Life:
    """One process of a worker, from its start to its end."""

    process: Process
    stopping: asyncio.Event
    identity: Identity
    connections: list[int] = field(default_factory=list)
    loop: Loop | None = None
    task: "asyncio.Task[None] | None" = None
    exit_code: int | None = None


@dataclass
class Worker:
    """A member id and its processes. A supervisor restarts what ends, but for what must stay ended."""

    name: str
    servers: Servers
    lives: list[Life] = field(default_factory=list)
    restart_after_s: float = RESTART_S
    errors: list[str] = field(default_factory=list)

    @property
    def life(self) -> Life:
        """Return its youngest process."""
        return self.lives[-1]

    def start(self) -> None:
        started_at_ms = int(asyncio.get_running_loop().time() * 1000) + len(self.lives)
        process = Process(f"{self.name}{len(self.lives)}")
        life = Life(process, asyncio.Event(), Identity(self.name, started_at_ms))
        self.lives.append(life)
        process.on_death = lambda: self._died(life)
        life.task = spawn(process, main(life, self.servers))
        life.task.add_done_callback(lambda task: self._ended(life, task), context=OUTSIDE)

    def _died(self, life: Life) -> None:
        hang_up_soon(self.servers.database, life.connections, 0.05)
        self._restart(life)

    def _ended(self, life: Life, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        life.exit_code = lifecycle.choose_exit_code(error)
        if error is not None:
            self.errors += [f"{type(leaf).__name__}: {leaf}" for leaf in lifecycle.flatten_error(error)]
        life.process.on_death = lambda: None
        life.process.kill()
        hang_up_soon(self.servers.database, life.connections, 0.0)
        if life.exit_code != EXIT_STAY_ENDED:
            self._restart(life)

    def _restart(self, life: Life) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.restart_after_s, self._restart_if_last, life, context=OUTSIDE)

    def _restart_if_last(self, life: Life) -> None:
        if life is self.life:
            self.start()


async def main(life: Life, servers: Servers) -> None:
    """Wire a worker as a service does: its loop, its claim, and where it settles to Postgres its outbox."""
    kafka = SimulatedKafka(servers.broker, servers.network)
    claim = Claim(kafka, work.GROUP, life.identity)
    member = kafka.member(work.GROUP, life.identity.member)
    handler = work.handler(rebuilder(kafka, servers), lambda: servers.store_is_up, to_postgres=servers.to_postgres)
    life.loop = Loop(claim, {work.SOURCE: handler}, kafka=member, settlement=settlement(member, servers), limits=LIMITS)
    others = []
    if servers.to_postgres:
        rows = SimulatedRows(servers.database, servers.network)
        life.connections.append(rows.connection)
        others.append(publish_for_ever(rows, kafka, work.GROUP))
    loops = [lifecycle.run_and_tell_fenced_apart(claim, life.loop.run(life.stopping))]
    await lifecycle.run_side_by_side(
        life.stopping, loops, others, ends_within_s=NEVER_S
    )  # it would end all processes here


def settlement(member: Member, servers: Servers) -> Settlement:
    if servers.to_postgres:
        return PostgresSettlement(member, SimulatedOffsets(servers.database, servers.network))
    return KafkaSettlement(member)


def rebuilder(kafka: SimulatedKafka, servers: Servers) -> Callable[[int], Awaitable[work.Counts]]:
    async def from_kafka(partition: int) -> work.Counts:
        return work.remembered(await kafka.read(Partition(work.MEMORY, partition)))

    async def from_postgres(partition: int) -> work.Counts:
        return immutables.Map(await servers.network.call(POSTGRES, servers.database.counted, partition))

    return from_postgres if servers.to_postgres else from_kafka
