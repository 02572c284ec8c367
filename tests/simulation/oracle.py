"""What must hold, checked from outside of the code under test: at every commit, at every look, and at the end."""

from collections.abc import Mapping, Sequence

from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Batch
from tests.simulation import work
from tests.simulation.servers.broker import Transaction
from tests.simulation.work import Calm, calm
from tests.simulation.worker import LIMITS, Servers, Worker


class Violation(Exception):
    """The code under test broke its promise."""


class Oracle:
    """Knows the input, and what a calm run makes of it."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._settled: dict[tuple[str, int], int] = {}
        self.violations: list[str] = []
        servers.broker.before_commit = self._before_kafka
        servers.database.before_commit = self._before_postgres

    def calm(self, number: int) -> Calm:
        return calm(self._servers.broker.logs[Partition(work.SOURCE, number)].ever_committed())

    # --- at every commit ---------------------------------------------------------------------------------------

    def _before_kafka(self, transaction: Transaction) -> None:
        for partition, offset in transaction.offsets.get(work.GROUP, {}).items():
            written = [self._alive(Partition(topic, partition.partition)) for topic in (work.TARGET, work.LETTERS)]
            self._compare(partition, offset, written)

    def _before_postgres(self, batch: Batch) -> None:
        for item in batch.events:
            key = (item.topic, item.partition or 0)
            self._settled[key] = self._settled.get(key, 0) + 1
        number = batch.partition.partition
        written = [self._settled.get((topic, number), 0) for topic in (work.TARGET, work.LETTERS)]
        self._compare(batch.partition, batch.next_offset, written)

    def _alive(self, partition: Partition) -> int:
        return sum(not (entry.marker or entry.aborted) for entry in self._servers.broker.logs[partition].entries)

    def _compare(self, partition: Partition, offset: int, written: Sequence[int]) -> None:
        """No commit passes an unfinished record, and none covers an effect twice."""
        source = self._servers.broker.logs[partition]
        before = calm([record for record in source.ever_committed() if record.offset < offset])
        wanted = [len(before.outputs), len(before.letters)]
        if wanted != list(written):
            self.violations.append(f"{partition} commits {offset} with {written} outputs and letters, not {wanted}")

    # --- at every look, and at the end -------------------------------------------------------------------------

    def look(self, workers: Sequence[Worker]) -> None:
        """Nothing grows: no partition task holds more than its limit."""
        for worker in workers:
            for partition_task in worker.life.loop.partition_tasks if worker.life.loop else ():
                if partition_task.in_flight > LIMITS.in_flight:
                    self.violations.append(
                        f"{worker.name}: {partition_task.partition} has {partition_task.in_flight} in flight"
                    )
        if self.violations:
            raise Violation(self.violations[0])

    def is_done(self, wanted: Mapping[int, Calm]) -> bool:
        """Say whether all effects are there, and the lag is 0, transaction markers included."""
        logs, group = self._servers.broker.logs, self._servers.broker.group(work.GROUP)
        for number, expected in wanted.items():
            source = Partition(work.SOURCE, number)
            if group.committed.get(source, -1) < logs[source].end:
                return False
            if len(logs[Partition(work.TARGET, number)].committed()) < len(expected.outputs):
                return False
            if len(logs[Partition(work.LETTERS, number)].committed()) < len(expected.letters):
                return False
        ending = any(transaction.ending for transaction in self._servers.broker.transactions.values())
        return not ending and not self._servers.database.rows

    def compare(self, wanted: Mapping[int, Calm]) -> None:
        """Every input has exactly one committed effect, in order, as decided by a calm run."""
        for number, expected in wanted.items():
            self._same("outputs", number, expected.outputs, self._values(work.TARGET, number))
            self._same("dead letters", number, expected.letters, self._values(work.LETTERS, number))
            if (found := self._remembered(number)) != expected.counts:
                raise Violation(f"partition {number} remembers {found}, not {expected.counts}")

    def _remembered(self, number: int) -> Mapping[bytes, int]:
        if self._servers.to_postgres:
            return self._servers.database.counted(number)
        return dict(work.remembered(self._servers.broker.logs[Partition(work.MEMORY, number)].committed()))

    def _values(self, topic: str, number: int) -> tuple[bytes, ...]:
        return tuple(entry.value or b"" for entry in self._servers.broker.logs[Partition(topic, number)].committed())

    def _same(self, what: str, number: int, wanted: Sequence[bytes], found: Sequence[bytes]) -> None:
        if tuple(wanted) == tuple(found):
            return
        missing = [value for value in wanted if value not in found]
        extra = [value for value in found if value not in wanted]
        twice = sorted({value for value in found if found.count(value) > 1})
        raise Violation(
            f"{what} of partition {number}: missing {missing[:3]}, twice {twice[:3]}, not wanted {extra[:3]}"
            + ("" if missing or extra or twice else ": out of order")
        )
