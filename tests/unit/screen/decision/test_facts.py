"""What is known of a frame before anything is decided."""

import immutables
import numpy as np
import pytest

from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import VerdictReason
from roadloop_schemas.policies import EmptyScenes, KeepRule, ScreenPolicy
from screen.decision.facts import Facts, gather_facts
from screen.decision.frame_keys import FrameKeys
from screen.decision.near_duplicates import count_objects, describe_picture, shows_more
from screen.decision.scene_distance import measure_scene
from screen.memory.state import KeptFrame, Memory
from screen.vision.detections import SURELY_THERE, Box, Judged, Unjudged
from screen.vision.embedding import as_text, pack
from tests.builders import make_frame

WHERE = FrameKeys("acme", "car-1", "front", Condition.RAIN, "second.acme/1")
POLICY = ScreenPolicy(version=1, threshold=0.5)
FRAME = make_frame(1, 0b11)
ROAD, TUNNEL = pack(np.array([1.0, 0, 0, 0])), pack(np.array([0, 0, 0, 5.0]))
NOTHING, CAR = Judged(()), Judged((Box(0.3, 0.3, 0.5, 0.5, 0.8, "car"),))


def experienced() -> Memory:
    """Return a memory that has seen 200 random scenes and kept one road."""
    dice, memory = np.random.default_rng(1), Memory()
    for _ in range(200):
        picture = pack(dice.standard_normal(4))
        step = measure_scene(memory, WHERE, picture).step
        memory = memory.add_embedding("acme", WHERE.slice_key, WHERE.eye, picture)
        memory = memory.add_camera_embedding(WHERE.camera_key, WHERE.slice_key, picture, step)
    kept = KeptFrame(f"{0:016x}", (("car", 1),), ROAD)
    return memory.add_kept_scene(
        WHERE.slice_key, WHERE.eye, measure_scene(memory, WHERE, ROAD).direction
    ).add_kept_frame(WHERE.camera_key, kept)


def known(memory: Memory, *found: Judged | Unjudged, at: int = 0, policy: ScreenPolicy = POLICY) -> Facts:
    one = found[at]
    picture = describe_picture(FRAME, *((one.boxes, one.embedding) if isinstance(one, Judged) else ((), b"")))
    scene = measure_scene(memory, WHERE, picture.embedding)
    return gather_facts(memory, FRAME, WHERE, found, at, policy=policy, picture=picture, scene=scene, lot=0.25)


def test_of_an_unjudged_frame_only_what_was_measured_is_known() -> None:
    gone = Unjudged(VerdictReason.OBJECT_MISSING, "gone")
    assert known(experienced(), gone) == Facts("f-1", WHERE, 0.25, 0.5, 100, unjudged=gone)


def test_without_memory_and_second_model_there_are_the_parts_of_one_model() -> None:
    facts = known(Memory(), CAR)
    assert facts.parts == {
        "uncertainty": 0.240643,
        "low_top_score": 0.2,
        "crowd": 0.0,
        "objects": 0.166667,
        "overlap": 0.0,
        "inconsistency": 0.0,
    }
    assert (facts.nearest_bits, facts.nearest_cosine, facts.new_object, facts.like_empty) == (None, None, False, None)


@pytest.mark.parametrize(
    ("embedding", "cosine", "novelty"),
    [pytest.param(ROAD, 1.0, 0.0, id="what-was-kept-before"), pytest.param(TUNNEL, 0.0, 1.0, id="something-new")],
)
def test_a_scene_is_compared_with_the_kept_ones_of_its_slice(embedding: bytes, cosine: float, novelty: float) -> None:
    facts = known(experienced(), Judged(CAR.boxes, (), embedding))
    assert facts.nearest_cosine == pytest.approx(cosine, abs=0.2)
    assert facts.parts["novelty"] == pytest.approx(novelty, abs=0.2)
    assert facts.parts["unusual"] > (0.65 if embedding == TUNNEL else 0.2)
    assert facts.parts["disagreement"] == pytest.approx(1 / 3, abs=1e-6)
    assert (facts.nearest_bits, facts.new_object) == (2, False)


@pytest.mark.parametrize(
    ("boxes", "more"),
    [
        pytest.param([("car", 0.9)], False, id="the-same"),
        pytest.param([("car", 0.9), ("car", 0.6)], True, id="one-more-car"),
        pytest.param([("car", 0.9), ("car", 0.4)], False, id="one-that-perhaps-is-there"),
        pytest.param([("bus", 0.6)], True, id="another-class"),
        pytest.param([], False, id="less-than-before"),
    ],
)
def test_a_fixed_scene_with_one_object_more(boxes: list[tuple[str, float]], more: bool) -> None:
    found = [Box(0.1, 0.1, 0.2, 0.2, score, name) for name, score in boxes]
    assert shows_more(count_objects(found, SURELY_THERE), KeptFrame("0" * 16, (("car", 1),))) is more


def test_objects_are_counted_by_class_from_a_score_on() -> None:
    found = [Box(0, 0, 1, 1, score, name) for name, score in (("car", 0.5), ("bus", 0.9), ("car", 0.6), ("car", 0.4))]
    assert count_objects(found, 0.5) == (("bus", 1), ("car", 2))


@pytest.mark.parametrize(
    ("unit", "at", "nothing"),
    [
        pytest.param([NOTHING], 0, True, id="alone"),
        pytest.param([NOTHING] * 5, 2, True, id="among-empty-ones"),
        pytest.param([CAR, NOTHING, NOTHING], 2, False, id="two-before-it"),
        pytest.param([CAR, NOTHING, NOTHING, NOTHING], 3, True, id="three-before-it"),
        pytest.param([NOTHING, NOTHING, CAR], 0, False, id="two-after-it"),
        pytest.param([Judged((), CAR.boxes)], 0, False, id="by-the-second-model"),
        pytest.param([Judged((Box(0, 0, 1, 1, 0.049, "car"),))], 0, True, id="too-weak-to-be-a-candidate"),
        pytest.param([Judged((Box(0, 0, 1, 1, 0.05, "car"),))], 0, False, id="a-weak-candidate"),
        pytest.param([NOTHING, Unjudged(VerdictReason.OBJECT_MISSING, "")], 0, True, id="beside-one-not-judged"),
    ],
)
def test_nothing_is_there_where_no_model_saw_anything_near(
    unit: list[Judged | Unjudged], at: int, nothing: bool
) -> None:
    assert known(Memory(), *unit, at=at).nothing_there is nothing


@pytest.mark.parametrize(
    ("embedding", "empties", "like"),
    [
        pytest.param(ROAD, (), None, id="no-empty-scene-is-known"),
        pytest.param(ROAD, (ROAD,), 1.0, id="like-an-empty-one"),
        pytest.param(TUNNEL, (ROAD,), 0.0, id="far-from-it"),
        pytest.param(TUNNEL, (ROAD, TUNNEL), 1.0, id="like-one-of-them"),
        pytest.param(ROAD, (b"1st2",), None, id="one-of-other-dimensions"),
        pytest.param(b"", (ROAD,), None, id="without-an-embedding"),
    ],
)
def test_an_empty_picture_is_compared_with_those_the_audit_found_empty(
    embedding: bytes, empties: tuple[bytes, ...], like: float | None
) -> None:
    for eye, expected in ((WHERE.eye, like), ("another/1", None)):
        scenes = EmptyScenes(eye=eye, scenes=tuple(map(as_text, empties)))
        policy = POLICY.model_copy(update={"empty_scenes": scenes})
        facts = known(experienced(), Judged((), (), embedding), policy=policy)
        assert facts.like_empty == pytest.approx(expected, abs=0.2)


def test_a_picture_with_something_in_it_is_not_compared_with_empty_ones() -> None:
    scenes = EmptyScenes(eye=WHERE.eye, scenes=(as_text(ROAD),))
    policy = POLICY.model_copy(update={"empty_scenes": scenes})
    assert known(experienced(), Judged(CAR.boxes, (), ROAD), policy=policy).like_empty is None


def test_rules_that_match_are_named_whatever_they_still_may() -> None:
    policy = POLICY.model_copy(
        update={"rules": (KeepRule(name="cars", class_name="car"), KeepRule(name="n", signal="x"))}
    )
    assert known(Memory(), CAR, policy=policy).matched == ("cars",)


@pytest.mark.parametrize(
    ("embedding", "step"),
    [
        pytest.param(ROAD, 0.0, id="the-kept-one-itself"),
        pytest.param(pack(np.array([1.1, 0, 0, 0])), 0.04, id="hardly-moved"),
        pytest.param(TUNNEL, 2.0, id="far-away"),
        pytest.param(b"", None, id="without-an-embedding"),
        pytest.param(b"1st2", None, id="of-other-dimensions"),
    ],
)
def test_a_step_is_a_multiple_of_what_usually_lies_between_two_pictures(embedding: bytes, step: float | None) -> None:
    facts = known(experienced(), Judged((), (), embedding))
    assert facts.nearest_step == pytest.approx(step, abs=0.02 if step and step < 1 else 0.5)


def test_light_is_compared_with_the_last_kept_frame_of_the_camera() -> None:
    memory = experienced()
    assert known(memory, CAR).light_change is None, "nobody looked at the light of the kept one"
    for brightness in (0.5, 0.46):
        memory = memory.add_kept_frame(WHERE.camera_key, KeptFrame(f"{0:016x}", brightness=brightness))
    assert known(memory, CAR).light_change == pytest.approx(0.04)
    assert known(Memory(), CAR).light_change is None


def test_without_a_kept_frame_or_a_usual_stride_there_is_no_step() -> None:
    assert known(Memory(), Judged((), (), ROAD)).nearest_step is None
    memory = experienced()._replace(strides=immutables.Map())
    assert known(memory, Judged((), (), ROAD)).nearest_step is None
