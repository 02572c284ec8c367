"""What the loop tells Prometheus. Base units, no ids as labels."""

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from roadloop_runtime.outcome import DeadLetter, Emit, Outcome, Skip

OUTCOMES = {Emit: "emitted", Skip: "skipped", DeadLetter: "dead_lettered"}

RECORDS = Counter("roadloop_records", "Records settled, by outcome.", ["group", "topic", "outcome"])
DEAD_LETTERS = Counter("roadloop_dead_letters", "Records given up, by reason.", ["group", "topic", "reason"])
ABORTED = Counter("roadloop_settles_aborted", "Batches that had to be decided again.", ["group", "topic"])
REBALANCES = Counter("roadloop_rebalances", "Assignments this worker got.", ["group"])


class _PartitionTask(Protocol):
    @property
    def partition(self) -> tuple[str, int]: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def settled(self) -> int | None: ...
    @property
    def oldest_s(self) -> float: ...


class _Loop(Protocol):
    @property
    def group(self) -> str: ...
    @property
    def partition_tasks(self) -> Iterable[_PartitionTask]: ...


def count(group: str, topic: str, kinds: Iterable[type[Outcome]], given_up: Iterable[DeadLetter]) -> None:
    """Count what was settled: the kind of each record's outcome, and the dead letters among them."""
    for kind, number in Tally(kinds).items():
        RECORDS.labels(group, topic, OUTCOMES[kind]).inc(number)
    for dead_letter in given_up:
        DEAD_LETTERS.labels(group, topic, dead_letter.reason.value).inc()


class _PartitionTaskCollector(Collector):
    """Asks the loops of this process for their partition tasks when Prometheus asks; nothing is kept in between."""

    def __init__(self) -> None:
        self._loops: WeakSet[_Loop] = WeakSet()

    def watch(self, loop: _Loop) -> None:
        self._loops.add(loop)

    def collect(self) -> Iterable[Metric]:
        labels = ["group", "topic", "partition"]
        in_flight = GaugeMetricFamily(
            "roadloop_in_flight_records", "Records polled and not yet settled.", labels=labels
        )
        settled = GaugeMetricFamily("roadloop_settled_offset_records", "Next offset to read.", labels=labels)
        oldest = GaugeMetricFamily(
            "roadloop_oldest_unfinished_seconds", "Age of the oldest unfinished record.", labels=labels
        )
        for loop in self._loops:
            for partition_task in loop.partition_tasks:
                topic, partition = partition_task.partition
                label_values = [loop.group, topic, str(partition)]
                in_flight.add_metric(label_values, partition_task.in_flight)
                settled.add_metric(label_values, partition_task.settled or 0)
                oldest.add_metric(label_values, partition_task.oldest_s)
        return [in_flight, settled, oldest]


PARTITION_TASKS = _PartitionTaskCollector()
REGISTRY.register(PARTITION_TASKS)
