"""Run one scenario: the workers, their input, the faults, and the oracle's verdict."""

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from random import Random

from roadloop_runtime.records import Event, Partition
from tests.simulation import work
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.scenario import WORKERS, Scenario
from tests.simulation.servers.broker import SimulatedBroker
from tests.simulation.servers.clock import State, run_virtual
from tests.simulation.servers.database import SimulatedDatabase
from tests.simulation.servers.network import Network
from tests.simulation.strikes import Strikes, later
from tests.simulation.worker import Life, Servers, Worker

PATIENCE_S = 40.0
ORDERLY = {"terminate", "rebalance", "twin", "tidy"}
STOP_S = 3.0  # where nothing else goes wrong: the drain twice, and the client's goodbye
LOOK_S = 0.1


@dataclass
class Report:
    """What became of a scenario. `steps` tells two runs apart: the same scenario takes the same steps.

    `most_fences` is how often the busiest transactional id was fenced.
    """

    scenario: Scenario
    problem: str = ""
    seconds: float = 0.0
    steps: int = 0
    starts: int = 0
    most_fences: int = 0
    places: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)


def run(scenario: Scenario) -> Report:
    """Run a scenario in virtual time. The same scenario always gives the same report."""
    random.seed(scenario.seed)  # the runtime's retries draw their jitter from it

    async def live() -> Report:
        return await _World(scenario).live()

    report: Report = run_virtual(live)
    return report


class _World:
    def __init__(self, scenario: Scenario) -> None:
        self._dice = Random(f"run {scenario.seed}")
        self._scenario = scenario
        network = Network(self._dice)
        broker = SimulatedBroker(work.TOPICS, self._dice)
        self._servers = Servers(broker, SimulatedDatabase(), network, scenario.settle == "postgres")
        self._workers = {name: Worker(name, self._servers) for name in WORKERS}
        self._oracle = Oracle(self._servers)
        self._strikes = Strikes(self._servers, self._workers)
        self._report = Report(scenario)
        self._loop = asyncio.get_running_loop()

    async def live(self) -> Report:
        self._feed(0, self._scenario.records // 2)
        for number, name in enumerate(WORKERS):
            later(0.3 * number * self._dice.random() ** 2, self._workers[name].start)
        later(1.5, partial(self._feed, self._scenario.records // 2, self._scenario.records))
        for fault in self._scenario.faults:
            later(fault.at_s, partial(self._strikes.strike, fault))
            if fault.kind == "terminate" and ORDERLY.issuperset(other.kind for other in self._scenario.faults):
                later(fault.at_s, partial(self._watch_the_end, self._workers[fault.whom]))
        try:
            await self._until_done()
        except Violation as violation:
            self._report.problem = str(violation)
        self._close()
        return self._report

    def _watch_the_end(self, worker: Worker) -> None:
        if worker.lives:
            later(STOP_S, partial(self._must_have_ended, worker.life))

    def _must_have_ended(self, life: Life) -> None:
        if life.process.state is not State.DEAD:
            self._oracle.violations.append(f"{life.process.name} was told to stop {STOP_S} s ago and still runs")

    def _feed(self, first: int, last: int) -> None:
        """Write input, with the holes and markers that compaction and other people's transactions leave."""
        broker = self._servers.broker
        for number in range(first, last):
            item = work.write(number, self._dice)
            log = broker.logs[Partition(work.SOURCE, item.partition or 0)]
            draw = self._dice.random()
            if draw < 0.03:
                log.leave_hole(self._dice.randint(1, 3))
            elif draw < 0.08:
                log.append(Event(work.SOURCE, b"k", b"aborted", (), item.partition), "upstream")
                log.mark("upstream", commit=False)
            log.append(item, "upstream" if draw < 0.3 else "")
            log.mark("upstream", commit=True)

    async def _until_done(self) -> None:
        last_fault_s = max((fault.at_s + fault.for_s for fault in self._scenario.faults), default=0.0)
        until = max(last_fault_s, 2.0)
        await asyncio.sleep(1.6)
        wanted = {number: self._oracle.calm(number) for number in range(work.PARTITIONS)}
        while self._loop.time() < until or not self._oracle.is_done(wanted):
            self._oracle.look(list(self._workers.values()))
            if self._loop.time() > until + PATIENCE_S:
                raise Violation(f"no progress for {PATIENCE_S} s after the last fault: {self._state()}")
            await asyncio.sleep(LOOK_S)
        self._oracle.look(list(self._workers.values()))
        self._oracle.compare(wanted)

    def _state(self) -> str:
        group = self._servers.broker.group(work.GROUP)
        partition_tasks = {
            (worker.name, partition_task.partition.partition): (
                partition_task.open,
                partition_task.in_flight,
                partition_task.settled,
            )
            for worker in self._workers.values()
            for partition_task in (worker.life.loop.partition_tasks if worker.life.loop else ())
        }
        committed = {p.partition: offset for p, offset in sorted(group.committed.items())}
        ends = {n: self._servers.broker.logs[Partition(work.SOURCE, n)].end for n in range(work.PARTITIONS)}
        rows = len(self._servers.database.rows)
        tasks = f"tasks (open, in flight, settled) {partition_tasks}"
        return f"{tasks}, committed {committed} of {ends}, {rows} rows in the outbox"

    def _close(self) -> None:
        report = self._report
        report.seconds = self._loop.time()
        report.places = self._strikes.places
        report.most_fences = max(self._servers.broker.fences.values(), default=0)
        for worker in self._workers.values():
            report.errors += worker.errors
            report.starts += len(worker.lives)
            for life in worker.lives:
                report.steps += life.process.steps
                life.process.on_death = lambda: None
                life.process.kill()
                life.process.bury()
