"""What the loop tells Prometheus. Base units, no ids as labels."""

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import Counter, Gauge

from roadloop_runtime.outcome import DeadLetter, Emit, Outcome, Skip

OUTCOMES = {Emit: "emitted", Skip: "skipped", DeadLetter: "dead_lettered"}

RECORDS = Counter("roadloop_records", "Records settled, by outcome.", ["group", "topic", "outcome"])
DEAD_LETTERS = Counter("roadloop_dead_letters", "Records given up, by reason.", ["group", "topic", "reason"])
ABORTED = Counter("roadloop_settles_aborted", "Batches that had to be decided again.", ["group", "topic"])
REBALANCES = Counter("roadloop_rebalances", "Assignments this worker got.", ["group"])
IN_FLIGHT = Gauge("roadloop_in_flight_records", "Records polled and not yet settled.", ["group", "topic", "partition"])
SETTLED = Gauge("roadloop_settled_offset_records", "Next offset to read.", ["group", "topic", "partition"])
OLDEST = Gauge(
    "roadloop_oldest_unfinished_seconds", "Age of the oldest unfinished record.", ["group", "topic", "partition"]
)


class _Lane(Protocol):
    @property
    def partition(self) -> tuple[str, int]: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def settled(self) -> int | None: ...
    @property
    def oldest_s(self) -> float: ...


def count(group: str, topic: str, kinds: Iterable[type[Outcome]], given_up: Iterable[DeadLetter]) -> None:
    """Count what was settled: the kind of each record's outcome, and the dead letters among them."""
    for kind, number in Tally(kinds).items():
        RECORDS.labels(group, topic, OUTCOMES[kind]).inc(number)
    for letter in given_up:
        DEAD_LETTERS.labels(group, topic, letter.reason.value).inc()


def show_lanes(group: str, lanes: Iterable[_Lane]) -> None:
    """Set the gauges of the partitions this worker owns now."""
    IN_FLIGHT.clear()
    for gauge in (SETTLED, OLDEST):
        gauge.clear()
    for lane in lanes:
        topic, partition = lane.partition
        IN_FLIGHT.labels(group, topic, partition).set(lane.in_flight)
        SETTLED.labels(group, topic, partition).set(lane.settled or 0)
        OLDEST.labels(group, topic, partition).set(lane.oldest_s)
