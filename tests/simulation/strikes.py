"""How each fault strikes: what happens to a worker, a server or the network, and when it is over."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from roadloop_runtime.records import Partition
from tests.simulation import work
from tests.simulation.scenario import Fault
from tests.simulation.servers.clock import OUTSIDE
from tests.simulation.worker import RESTART_S, Servers, Worker

CUT_AGAIN_S = 0.25


def later(after_s: float, what: Callable[[], object]) -> None:
    """Do something later, in no process's name."""
    asyncio.get_running_loop().call_later(after_s, what, context=OUTSIDE)


class Strikes:
    """Lets faults strike. `places` collects where killed processes were waiting."""

    def __init__(self, servers: Servers, workers: Mapping[str, Worker]) -> None:
        self._servers = servers
        self._workers = workers
        self.places: set[str] = set()

    def strike(self, fault: Fault) -> None:
        getattr(self, f"_{fault.kind}")(fault)

    # --- workers: nothing happens to one that has not started yet ------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        worker = self._workers[fault.whom]
        if worker.lives:
            worker.restart_after_s = fault.for_s
            process = worker.life.process
            process.dies_at_step = process.steps + int(fault.number)
            before = process.on_death

            def note() -> None:
                self.places.update(process.places())
                before()
                later(fault.for_s + 0.01, partial(setattr, worker, "restart_after_s", RESTART_S))

            process.on_death = note

    def _freeze(self, fault: Fault) -> None:
        if self._workers[fault.whom].lives:
            process = self._workers[fault.whom].life.process
            process.freeze()
            later(fault.for_s, process.wake)

    def _terminate(self, fault: Fault) -> None:
        worker = self._workers[fault.whom]
        if worker.lives:
            worker.restart_after_s = fault.for_s
            worker.life.stopping.set()
            later(fault.for_s + 1.0, partial(setattr, worker, "restart_after_s", RESTART_S))

    def _twin(self, fault: Fault) -> None:
        if self._workers[fault.whom].lives:
            self._workers[fault.whom].start()

    # --- servers and the network ---------------------------------------------------------------------------------

    def _rebalance(self, fault: Fault) -> None:
        for number in range(int(fault.number)):
            later(fault.for_s * number, self._servers.broker.group(work.GROUP).rebalance)

    def _outage(self, fault: Fault) -> None:
        self._servers.network.away.add(fault.whom)
        later(fault.for_s, lambda: self._servers.network.away.discard(fault.whom))

    def _lossy(self, fault: Fault) -> None:
        self._servers.network.loss[fault.whom] = fault.number
        later(fault.for_s, lambda: self._servers.network.loss.pop(fault.whom, None))

    def _refuse(self, fault: Fault) -> None:
        for number in range(work.PARTITIONS):
            log = self._servers.broker.logs[Partition(fault.whom, number)]
            log.refusing = fault.number
            later(fault.for_s, partial(setattr, log, "refusing", 0.0))

    def _store(self, fault: Fault) -> None:
        self._servers.store_is_up = False
        later(fault.for_s, partial(setattr, self._servers, "store_is_up", True))

    def _tidy(self, _fault: Fault) -> None:
        """Compact the memory, and delete the input that is committed."""
        committed = self._servers.broker.group(work.GROUP).committed
        for number in range(work.PARTITIONS):
            self._servers.broker.logs[Partition(work.MEMORY, number)].compact()
            source = Partition(work.SOURCE, number)
            self._servers.broker.logs[source].expire(committed.get(source, 0))

    def _cut(self, fault: Fault) -> None:
        for number in range(int(fault.number)):
            later(CUT_AGAIN_S * number, self._cut_once)

    def _cut_once(self) -> None:
        database = self._servers.database
        if database.holder is not None:
            database.hang_up(database.holder)
