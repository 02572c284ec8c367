"""The simulated cluster: logs, transactions with their coordinator, groups. What runs here never dies.

Behaviour as measured on Kafka 4.3 with the client the runtime uses; the contract suite runs over both.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from roadloop_runtime import broker
from roadloop_runtime.records import Event, Partition
from tests.simulation.servers.clock import OUTSIDE
from tests.simulation.servers.groups import Group
from tests.simulation.servers.log import Entry, Log
from tests.simulation.servers.network import Again

Committed = dict[Partition, int]
BeforeCommit = Callable[["Transaction"], None]


class ProducerFenced(Exception):
    """A younger producer of this transactional id is there."""


class Refused(Exception):
    """The topic does not take this write now."""


class OutOfRange(Exception):
    """The offset is below the log's start."""


@dataclass
class Transaction:
    """The coordinator's state of one transactional id. A request that arrives twice is done once: a connection keeps
    its order, and a producer's sequence numbers show what was there before.
    """

    epoch: int = 0
    open: bool = False
    ending: bool = False
    touched: set[Partition] = field(default_factory=set)
    offsets: dict[str, Committed] = field(default_factory=dict)
    requests: set[int] = field(default_factory=set)


class SimulatedBroker:
    """All state of the cluster. Methods are requests as they arrive: they never wait."""

    def __init__(self, partitions: Mapping[str, int], dice: Random, *, session_s: float = 2.0) -> None:
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self._session_s = session_s
        self.partitions = dict(partitions)
        self.logs = {Partition(t, n): Log(t, n) for t, count in partitions.items() for n in range(count)}
        self.transactions: dict[str, Transaction] = {}
        self.groups: dict[str, Group] = {}
        self.fences: Counter[str] = Counter()
        self.before_commit: BeforeCommit = lambda _: None

    # --- without a group ---------------------------------------------------------------------------------------

    def append(self, partition: Partition, item: Event) -> None:
        self.logs[partition].append(item)

    def read_all(self, partition: Partition) -> Sequence[Entry]:
        return self.logs[partition].committed()

    def fetch(self, positions: Mapping[Partition, int], limit: int) -> Mapping[Partition, tuple[Sequence[Entry], int]]:
        """Read from each position on; raises OutOfRange."""
        found: dict[Partition, tuple[Sequence[Entry], int]] = {}
        for partition, position in positions.items():
            log = self.logs[partition]
            if position < log.start:
                raise OutOfRange(f"{partition}: {position} is below {log.start}")
            found[partition] = log.read(position, limit)
            limit -= len(found[partition][0])
        return found

    def log_of(self, partition: Partition) -> broker.Log:
        log = self.logs[partition]
        return broker.Log(log.topic_id, log.start, log.stable)

    # --- transactions ------------------------------------------------------------------------------------------

    def init_producer(self, transactional_id: str) -> int:
        """Begin a new epoch. Raises Again until what the epoch before left is at its end."""
        transaction = self.transactions.setdefault(transactional_id, Transaction())
        if transaction.open and not transaction.ending:
            transaction.epoch += 1
            self._end(transactional_id, transaction, commit=False)
        if transaction.ending:
            raise Again(transactional_id)
        transaction.epoch += 1
        self.fences[transactional_id] += 1
        return transaction.epoch

    def produce(self, transactional_id: str, epoch: int, request: int, to: Partition, items: Sequence[Event]) -> None:
        """Append to one partition, once per request, however often it arrives."""
        transaction = self._mine(transactional_id, epoch)
        if request in transaction.requests:
            return
        log = self.logs[to]
        if self._dice.random() < log.refusing:
            raise Refused(to.topic)
        transaction.requests.add(request)
        transaction.open = True
        transaction.touched.add(to)
        for item in items:
            log.append(item, transactional_id)

    def add_offsets(self, transactional_id: str, epoch: int, request: int, group: str, offsets: Committed) -> None:
        transaction = self._mine(transactional_id, epoch)
        if request in transaction.requests:
            return
        transaction.requests.add(request)
        transaction.open = True
        transaction.offsets[group] = {**transaction.offsets.get(group, {}), **offsets}

    def commit(self, transactional_id: str, epoch: int, request: int) -> None:
        """Decide to commit. The markers are written a little later, each in its own time."""
        transaction = self.transactions[transactional_id]
        if transaction.epoch != epoch:
            raise ProducerFenced(transactional_id)
        if request in transaction.requests:
            return
        transaction.requests.add(request)
        if transaction.open and not transaction.ending:
            self.before_commit(transaction)
            self._end(transactional_id, transaction, commit=True)

    def _mine(self, transactional_id: str, epoch: int) -> Transaction:
        transaction = self.transactions[transactional_id]
        if transaction.epoch != epoch:
            raise ProducerFenced(transactional_id)
        if transaction.ending:
            raise Again(transactional_id)
        return transaction

    def _end(self, transactional_id: str, transaction: Transaction, *, commit: bool) -> None:
        transaction.ending = True
        left = len(transaction.touched) + 1

        def arrived() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.transactions[transactional_id] = Transaction(transaction.epoch, requests=transaction.requests)

        def mark(partition: Partition) -> None:
            self.logs[partition].mark(transactional_id, commit)
            arrived()

        def store_offsets() -> None:
            for group, offsets in transaction.offsets.items() if commit else ():
                self.group(group).committed.update(offsets)
            arrived()

        for partition in sorted(transaction.touched):
            self._soon(partial(mark, partition))
        self._soon(store_offsets)

    def _soon(self, what: Callable[[], None]) -> None:
        self._loop.call_later(0.02 * self._dice.random() ** 3, what, context=OUTSIDE)

    # --- groups ------------------------------------------------------------------------------------------------

    def group(self, name: str) -> Group:
        if name not in self.groups:
            self.groups[name] = Group(self._dice, self._session_s, self.partitions)
        return self.groups[name]

    def committed(self, group: str, partition: Partition) -> int | None:
        return self.group(group).committed.get(partition)

    def commit_offsets(self, group: str, member_id: int, offsets: Committed) -> None:
        """Commit outside of a transaction; only a member of the present generation may."""
        self.group(group).refuse_strangers(member_id)
        self.group(group).committed.update(offsets)
