"""What is remembered is what is rebuilt, whatever was remembered and however often it was written."""

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_runtime.records import Event
from roadloop_schemas.cloudevents import Header
from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import KeepRule, SliceCounters, Verdict
from screen.memory import KEPT_PER_CAMERA, Memory
from screen.memory_entries import SEGMENT_PLACES, rebuild, remember

SLICES = ("acme/rain/front", "acme/clear/front", "other/rain/front")
CAMERAS = ("acme/car-1/front", "acme/car-2/front")


@dataclass(frozen=True)
class Written:
    """A memory entry as a record."""

    value: bytes | None
    key: bytes | None
    headers: tuple[Header, ...] = ()
    topic: str = "screen.memory.v1"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0


def written(events: list[Event]) -> list[Written]:
    return [Written(event.value, event.key, event.headers) for event in events]


def dhash(bits: int) -> str:
    return f"{bits:016x}"


Step = tuple[str, Verdict] | tuple[str, str] | tuple[str, float] | tuple[str, tuple[str, ...]]
RULES = (KeepRule(name="bike", class_name="bicycle"), KeepRule(name="night", condition=Condition.NIGHT))
counted = st.tuples(st.sampled_from(SLICES), st.sampled_from(Verdict))
kept = st.tuples(st.sampled_from(CAMERAS), st.integers(0, 2**64 - 1).map(dhash))
ruled = st.tuples(st.sampled_from(("acme", "other")), st.sampled_from(((), ("bike",), ("bike", "night"))))
KINDS = {Verdict: "slice", str: "camera", float: "sharpness", tuple: "rules"}
pictured = st.tuples(st.sampled_from(CAMERAS), st.floats(0, 5_000))
batches = st.lists(st.lists(counted | kept | pictured | ruled, max_size=8), max_size=6)


def take(memory: Memory, batch: list[Step]) -> Memory:
    for key, what in batch:
        if isinstance(what, Verdict):
            memory = memory.count(key, what)
        elif isinstance(what, str):
            memory = memory.keep(key, what)
        elif isinstance(what, tuple):
            memory = memory.allow(key, RULES, what)
        else:
            memory = memory.see(key, what, 0.15)
    return memory


@given(batches)
def test_a_memory_that_was_written_batch_by_batch_is_rebuilt(steps: list[list[Step]]) -> None:
    memory, log = Memory(), list[Event]()
    for batch in steps:
        before, memory = memory, take(memory, batch)
        log += remember(3, before, memory)
    assert rebuild(written(log)) == memory


@given(batches)
def test_a_compacted_log_rebuilds_the_same(steps: list[list[Step]]) -> None:
    memory, log = Memory(), list[Event]()
    for batch in steps:
        before, memory = memory, take(memory, batch)
        log += remember(3, before, memory)
    newest = {event.key: event for event in log}
    assert rebuild(written(list(newest.values()))) == memory


@given(batches)
def test_a_batch_writes_each_key_once_and_nothing_that_did_not_change(steps: list[list[Step]]) -> None:
    memory = Memory()
    for batch in steps:
        before, memory = memory, take(memory, batch)
        keys = [event.key for event in remember(3, before, memory)]
        changed = {f"{KINDS[type(what)]}:{key}" for key, what in batch}
        assert sorted(keys) == sorted(key.encode() for key in changed)
    assert not list(remember(3, memory, memory))


@given(st.lists(st.sampled_from(Verdict), max_size=30))
def test_counters_add_up(verdicts: list[Verdict]) -> None:
    memory = take(Memory(), [("acme/rain/front", verdict) for verdict in verdicts])
    found = memory.slices.get("acme/rain/front", SliceCounters(seen=0, kept=0, dropped=0, quarantined=0))
    assert found.seen == len(verdicts) == found.kept + found.dropped + found.quarantined
    assert found.kept == verdicts.count(Verdict.KEPT)


@pytest.mark.parametrize(
    ("held", "asked", "bits"),
    [
        pytest.param([], 0, None, id="nothing-kept-yet"),
        pytest.param([0b1011], 0b1011, 0, id="the-same-picture"),
        pytest.param([0b1011], 0b1110, 2, id="two-bits-differ"),
        pytest.param([0, 2**64 - 1], 1, 1, id="the-nearest-of-several"),
        pytest.param([0], 2**64 - 1, 64, id="as-far-as-can-be"),
    ],
)
def test_the_nearest_kept_frame(held: list[int], asked: int, bits: int | None) -> None:
    memory = take(Memory(), [("acme/car-1/front", dhash(value)) for value in held])
    assert memory.nearest_kept("acme/car-1/front", dhash(asked)) == bits
    assert memory.nearest_kept("acme/car-2/front", dhash(asked)) is None


def test_only_the_last_kept_frames_of_a_camera_are_remembered() -> None:
    memory = take(Memory(), [("acme/car-1/front", dhash(value)) for value in range(KEPT_PER_CAMERA + 3)])
    assert memory.kept["acme/car-1/front"] == tuple(dhash(value) for value in range(3, KEPT_PER_CAMERA + 3))


def test_keep_rates_are_rebuilt_from_compacted_entries_through_alarms_and_full_rings() -> None:
    """However the log is cut into batches and compacted, the next owner knows what the last one knew."""
    dice, memory, newest = Random(5), Memory(), dict[bytes | None, Event]()
    for batch in range(250):
        before = memory
        for _ in range(dice.randint(1, 60)):
            key, score = dice.choice(("acme/rain/front", "acme/*")), round(dice.random(), 6)
            kept = dice.random() < (0.6 if 60 < batch < 80 else 0.1)
            ranked = None if dice.random() < 0.3 else score
            memory = memory.control(key, ranked, kept, budget=0.1, audit_share=0.01)
        for event in remember(3, before, memory):
            newest[event.key] = event
        assert rebuild(written(list(newest.values()))) == memory
    rate = memory.rates["acme/*"]
    assert rate.segments[-1].number > SEGMENT_PLACES, "places were written anew"
    assert rate.threshold is not None
