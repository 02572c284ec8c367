"""What is remembered is what is rebuilt, whatever was remembered and however often it was written."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_runtime.records import Event, Record
from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import Verdict
from roadloop_schemas.policies import KeepRule, ScreenPolicy
from screen.decision.frame_keys import rate_key
from screen.memory.embedding_statistics import FIXED_AFTER, normalise
from screen.memory.entries import SCENE_PLACES, SEGMENT_PLACES, rebuild, remember
from screen.memory.keep_rate import FULL
from screen.memory.state import KEPT_PER_CAMERA, Counters, KeptFrame, Memory
from screen.vision.embedding import pack
from tests.builders import read_back

SLICES = ("acme/rain/front", "acme/clear/front", "other/rain/front")
CAMERAS = ("acme/car-1/front", "acme/car-2/front")


def written(events: list[Event]) -> list[Record]:
    return [read_back(event) for event in events]


def dhash(bits: int) -> str:
    return f"{bits:016x}"


Step = tuple[str, Verdict | str | bool | float | tuple[str, ...] | bytes]
ALONE = ScreenPolicy(version=1, threshold=0.5, controlled=True)
SHARED = ALONE.model_copy(update={"shared": True, "slice_range": (0.02, 0.7)})
RULES = (KeepRule(name="bike", class_name="bicycle"), KeepRule(name="night", condition=Condition.NIGHT))
counted = st.tuples(st.sampled_from(SLICES), st.sampled_from(Verdict))
kept = st.tuples(st.sampled_from(CAMERAS), st.integers(0, 2**64 - 1).map(dhash))
ruled = st.tuples(st.sampled_from(("acme", "other")), st.sampled_from(((), ("bike",), ("bike", "night"))))
KINDS = {Verdict: "slice", str: "camera", float: "sharpness", tuple: "rules", bytes: "scenery", bool: "echo"}
pictured = st.tuples(st.sampled_from(CAMERAS), st.floats(0, 5_000))
turned = st.tuples(st.sampled_from(CAMERAS), st.booleans())
looked = st.tuples(st.sampled_from(("acme", "other")), st.sampled_from((b"1st2", b"abcdef", b"??!!")))
batches = st.lists(st.lists(counted | kept | pictured | ruled | looked | turned, max_size=8), max_size=6)


def take(memory: Memory, batch: list[Step]) -> Memory:
    for key, what in batch:
        if isinstance(what, Verdict):
            memory = memory._replace(slices=memory.update_counters(key, what))
        elif isinstance(what, bool):
            memory = memory._replace(echoes=memory.update_echoes(key, "d-1", what))
        elif isinstance(what, str):
            memory = memory.add_kept_frame(key, KeptFrame(what, (("car", len(memory.kept)),)))
        elif isinstance(what, tuple):
            memory = memory._replace(allowances=memory.update_allowances(key, RULES, what))
        elif isinstance(what, bytes):
            memory = memory.add_embedding(key, f"{key}/rain/front", "second.acme/1", what)
        else:
            memory = memory._replace(sharpness=memory.update_sharpness(key, what, 0.15))
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
        changed |= {f"scenery:{key}/rain/front" for key, what in batch if isinstance(what, bytes)}
        assert sorted(keys) == sorted(key.encode() for key in changed)
    assert not list(remember(3, memory, memory))


@given(st.lists(st.sampled_from(Verdict), max_size=30))
def test_counters_add_up(verdicts: list[Verdict]) -> None:
    memory = take(Memory(), [("acme/rain/front", verdict) for verdict in verdicts])
    found = memory.slices.get("acme/rain/front", Counters())
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
    nearest = memory.nearest_kept("acme/car-1/front", dhash(asked))
    assert (nearest and nearest[0]) == bits
    assert memory.nearest_kept("acme/car-2/front", dhash(asked)) is None


def test_only_the_last_kept_frames_of_a_camera_are_remembered() -> None:
    memory = take(Memory(), [("acme/car-1/front", dhash(value)) for value in range(KEPT_PER_CAMERA + 3)])
    kept = [frame.dhash for frame in memory.kept["acme/car-1/front"]]
    assert kept == [dhash(value) for value in range(3, KEPT_PER_CAMERA + 3)]


def test_keep_rates_are_rebuilt_from_compacted_entries_through_alarms_and_full_rings() -> None:
    """However the log is cut into batches and compacted, the next owner knows what the last one knew."""
    dice, memory, newest = Random(5), Memory(), dict[bytes | None, Event]()
    for batch in range(250):
        before = memory
        for _ in range(dice.randint(1, 60)):
            key, score = dice.choice(("acme/rain/front@1", "acme/*@1")), round(dice.random(), 6)
            kept = dice.random() < (0.6 if 60 < batch < 80 else 0.1)
            ranked = None if dice.random() < 0.3 else score
            policy = SHARED if batch > 40 else ALONE
            memory = memory._replace(rates=memory.update_rates({key: 0.1}, ranked, kept, policy=policy, scale=""))
        for event in remember(3, before, memory):
            newest[event.key] = event
        assert rebuild(written(list(newest.values()))) == memory
    assert FULL + 1 < SEGMENT_PLACES, "a place is only written anew once its segment was forgotten"
    rate = memory.rates["acme/*@1"]
    assert rate.newest.number > SEGMENT_PLACES, "places were written anew"
    assert rate.threshold is not None


def test_keep_rates_of_versions_that_come_and_go_are_rebuilt_and_the_topic_forgets_those_that_went() -> None:
    dice, memory, newest, log = Random(8), Memory(), dict[bytes | None, Event](), list[Event]()
    for _ in range(120):
        before = memory
        for _ in range(dice.randint(1, 3)):
            versions = dice.sample((3, 4, 5), dice.randint(1, 3))
            memory = memory.forget_other_versions("acme", versions)
            for _ in range(dice.randint(1, 150)):
                key = rate_key(dice.choice(("acme/rain/front", "acme/*")), dice.choice(versions))
                kept = dice.random() < 0.1
                rates = memory.update_rates({key: 0.1}, dice.random(), kept, policy=ALONE, scale="")
                memory = memory._replace(rates=rates)
        changed = list(remember(3, before, memory))
        log += changed
        newest |= {event.key: event for event in changed}
        assert rebuild(written(list(newest.values()))) == memory == rebuild(written(log))
    held = {(event.key or b"").decode().partition("@")[2][:1] for event in newest.values() if event.value and event.key}
    assert held - {""} == {str(version) for version in memory.versions["acme"]} & held


def test_kept_scenes_are_rebuilt_from_compacted_entries_through_full_walls_and_other_networks() -> None:
    dice, memory, newest = Random(6), Memory(), dict[bytes | None, Event]()
    model_client = ["second.acme/1"] * 300 + ["second.acme/2"] * 20 + ["second.acme/1"] * 80
    for eye in model_client:
        before = memory
        for _ in range(dice.randint(1, 6)):
            scene = normalise(np.array([dice.gauss(0, 1) for _ in range(5)], np.float32))
            memory = memory.add_kept_scene(dice.choice(("acme/rain/front", "acme/night/front")), eye, scene)
        newest |= {event.key: event for event in remember(3, before, memory)}
        rebuilt = rebuild(written(list(newest.values())))
        assert rebuilt == memory
        memory = rebuilt
    assert len(newest) <= 2 * SCENE_PLACES
    assert {held.eye for held in memory.kept_scenes.values()} == {"second.acme/1"}


def test_what_was_kept_of_a_drive_fades_and_ends_with_it() -> None:
    def heard(memory: Memory, chance: float) -> Memory:
        return memory._replace(echoes=memory.update_echoes("acme/car-1/front", "d-1", chance))

    memory = heard(Memory(), 0.5)
    assert memory.echo("acme/car-1/front", "d-1") == 0.5
    for _ in range(6):
        memory = heard(memory, 0.0)
    assert memory.echo("acme/car-1/front", "d-1") == pytest.approx(0.5 * 0.3679, abs=1e-4)
    assert heard(memory, 0.9).echo("acme/car-1/front", "d-1") > 1.05
    assert memory.echo("acme/car-1/front", "d-2") == 0.0
    assert memory.echo("acme/car-2/front", "d-1") == 0.0


def test_scenes_and_strides_are_rebuilt() -> None:
    dice, memory, log = np.random.default_rng(4), Memory(), list[Event]()
    for number in range(120):
        before, picture = memory, pack(dice.standard_normal(5))
        memory = memory.add_embedding("acme", "acme/rain/front", "second.acme/1", picture)
        memory = memory.add_camera_embedding("acme/car-1/front", "acme/rain/front", picture, number / 10)
        if number % 10 == 0:
            kept = KeptFrame(dhash(number), (("car", number),), picture, number / 120 if number > 30 else None)
            memory = memory.add_kept_frame("acme/car-1/front", kept)
        log += remember(3, before, memory)
    newest = {event.key: event for event in log}
    assert rebuild(written(list(newest.values()))) == memory


def test_what_is_usual_for_a_tenant_is_held_to_its_first_pictures_that_of_a_slice_moves_on() -> None:
    day, night, memory = pack(np.array([1.0, 0.0])), pack(np.array([0.0, 1.0])), Memory()
    for picture in [day] * FIXED_AFTER + [night] * FIXED_AFTER:
        memory = memory.add_embedding("acme", "acme/rain/front", "second.acme/1", picture)
    assert memory.scenery["acme"].mean_and_variance[0] == pytest.approx([1, 0], abs=0.02)
    assert memory.scenery["acme/rain/front"].mean_and_variance[0] == pytest.approx([0.5, 0.5], abs=0.01)
