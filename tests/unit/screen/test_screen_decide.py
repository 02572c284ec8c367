"""One verdict per frame, in order; the same input decides the same; counters conserve."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from random import Random
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_runtime.dead_letter import REPLAYED_FROM
from roadloop_runtime.outcome import DeadLetter, Emit, Transient
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing
from roadloop_schemas.cloudevents import Attributes, from_headers
from roadloop_schemas.fields import Condition, ObjectRef
from roadloop_schemas.frames import BudgetState, FrameScreened, ModelPair, Verdict, VerdictReason
from roadloop_schemas.models import ModelServing
from roadloop_schemas.policies import ScreenPolicy
from screen.handle import Observation
from screen.handle import decide as decide_salted
from screen.inference.predict import MAX_PICTURE_BYTES, InferenceLimits, ModelClient, RefusedByModel
from screen.memory.state import Memory
from screen.reasons import UnitReason
from screen.vision.detections import Box, Judged, Prediction, Unjudged
from screen.vision.embedding import pack
from tests.builders import NOW, PAIR, SERVING, make_detection, make_frame, make_object, make_unit, receive, receive_unit
from tests.unit.screen.observing import look_at

decide = partial(decide_salted, salt=b"a salt of 16 or more")
KEEP_ALL = ScreenPolicy(version=4, threshold=0.0, audit_share=0)
UNSURE = Judged((Box(0.1, 0.1, 0.2, 0.2, 0.5, "car"),))
LOOK = Prediction(UNSURE.boxes, b"1st2")


def verdicts(outcome: object) -> list[FrameScreened]:
    assert isinstance(outcome, Emit)
    return [FrameScreened.model_validate_json(event.value or b"") for event in outcome.events]


def test_a_verdict_tells_all_it_takes_to_decide_again() -> None:
    boxes = (
        Box(-0.1, 0.1, 0.4, 1.2, 0.9, "car"),
        Box(0.3, 0.1, 0.2, 0.2, 0.8, "car"),
        Box(0.1, 0.1, 0.2, 0.2, 0.04, "car"),
    )
    memory, outcome = decide(
        Memory(), Observation(receive_unit(make_frame(1)), PAIR, (Judged(boxes, ()),)), {"acme": KEEP_ALL}
    )
    assert isinstance(outcome, Emit)
    (event,) = outcome.events
    assert (event.topic, event.key, event.partition) == ("frames.screened.v1", b"car-1", 5)
    assert from_headers(event.headers) == Attributes(
        "06ce612b42c32f9f01680a6222bb72b9",
        "/roadloop/screen",
        "roadloop.frames.screened.v1",
        "acme",
        "2026-03-02T08:00:00Z",
        "f-1",
    )
    (said,) = verdicts(outcome)
    assert said.models == ModelPair(name="detector.acme", version=3, second_name="second.acme", second_version=1)
    assert (said.policy_version, said.threshold, said.slice) == (4, 0.0, "rain/front")
    of_one = {"uncertainty", "low_top_score", "crowd", "objects", "overlap", "inconsistency"}
    assert said.score_parts.keys() == of_one | {"disagreement"}
    counted = {"seen": 1, "kept": 1, "dropped": 0, "quarantined": 0}
    assert said.counters.model_dump() == counted == memory.slices["acme/rain/front"]._asdict()
    shown = make_detection(x1=0, x2=0.4, y2=1)
    assert said.detections == (shown,)


def test_a_frame_sees_what_the_frame_before_it_left() -> None:
    policy = KEEP_ALL.model_copy(update={"duplicate_distance": 3})
    seen = Observation(
        receive_unit(make_frame(1, 0), make_frame(2, 0b111), make_frame(3, 0b1111)), SERVING, (UNSURE,) * 3
    )
    memory, outcome = decide(Memory(), seen, {"acme": policy})
    assert [said.reasons for said in verdicts(outcome)] == [
        (VerdictReason.SCORE,),
        (VerdictReason.NEAR_DUPLICATE,),
        (VerdictReason.SCORE,),
    ]
    assert [said.counters.seen for said in verdicts(outcome)] == [1, 2, 3]
    assert [kept.dhash for kept in memory.kept["acme/car-1/front"]] == [f"{0:016x}", f"{0b1111:016x}"]


@pytest.mark.parametrize(
    ("policies", "version"),
    [pytest.param({"acme": KEEP_ALL}, 4, id="its-own"), pytest.param({"other": KEEP_ALL}, 0, id="else-the-default")],
)
def test_a_tenants_policy(policies: dict[str, ScreenPolicy], version: int) -> None:
    _, outcome = decide(Memory(), Observation(receive_unit(make_frame(1)), SERVING, (UNSURE,)), policies)
    assert [said.policy_version for said in verdicts(outcome)] == [version]


def test_a_unit_without_a_model_is_a_dead_letter_that_says_what_to_do() -> None:
    memory, outcome = decide(Memory(), Observation(receive_unit(make_frame(1)), None), {})
    assert isinstance(outcome, DeadLetter)
    assert (memory, outcome.reason, outcome.field) == (Memory(), UnitReason.NO_MODEL, "ce_tenant")
    assert "detector.acme" in outcome.remedy


found = UNSURE, Judged(()), replace(UNSURE, second=()), Unjudged(VerdictReason.OBJECT_MISSING, "gone")
frames = st.lists(st.tuples(st.integers(0, 15), st.sampled_from(Condition), st.sampled_from(found)), min_size=1)
policies = st.builds(
    ScreenPolicy,
    version=st.just(1),
    threshold=st.floats(0, 1),
    audit_share=st.floats(0, 1),
    duplicate_distance=st.integers(-1, 4),
    weights=st.just({"uncertainty": 1, "low_top_score": 1}),
)


@given(frames.filter(lambda few: len(few) <= 64), policies)
def test_the_same_decides_the_same_and_every_frame_is_counted_once(
    sent: list[tuple[int, Condition, Judged | Unjudged]], policy: ScreenPolicy
) -> None:
    ingested = [make_frame(number, dhash, condition) for number, (dhash, condition, _) in enumerate(sent)]
    seen = Observation(receive_unit(*ingested), SERVING, tuple(look for *_, look in sent))
    memory, outcome = decide(Memory(), seen, {"acme": policy})
    assert decide(Memory(), seen, {"acme": policy}) == (memory, outcome)
    said = verdicts(outcome)
    assert [verdict.frame_id for verdict in said] == [one.frame_id for one in ingested]
    for counters in memory.slices.values():
        assert counters.seen == counters.kept + counters.dropped + counters.quarantined
    assert sum(counters.seen for counters in memory.slices.values()) == len(sent)
    assert sum(c.kept for c in memory.slices.values()) == sum(v.verdict is Verdict.KEPT for v in said)
    assert all(len(verdict.reasons) == 1 for verdict in said if verdict.verdict is not Verdict.KEPT)


@given(frames.filter(lambda few: 2 <= len(few) <= 64), policies, st.data())
def test_how_frames_are_cut_into_units_changes_no_verdict_but_by_what_needs_neighbours(
    sent: list[tuple[int, Condition, Judged | Unjudged]], policy: ScreenPolicy, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(sent) - 1))
    ingested = [make_frame(number, dhash, condition) for number, (dhash, condition, _) in enumerate(sent)]
    looks = tuple(look for *_, look in sent)
    _, whole = decide(Memory(), Observation(receive_unit(*ingested), SERVING, looks), {"acme": policy})
    memory, first = decide(Memory(), Observation(receive_unit(*ingested[:cut]), SERVING, looks[:cut]), {"acme": policy})
    _, second = decide(memory, Observation(receive_unit(*ingested[cut:]), SERVING, looks[cut:]), {"acme": policy})
    assert [told(v) for v in verdicts(first) + verdicts(second)] == [told(v) for v in verdicts(whole)]


def told(verdict: FrameScreened) -> FrameScreened:
    """Return a verdict without what a frame's neighbours in its unit say: it is recorded, and did not count here."""
    parts = {name: value for name, value in verdict.score_parts.items() if name != "inconsistency"}
    return verdict.model_copy(update={"score_parts": parts, "measures": None})


def limits(pictures: int = 4, asked: int = 4) -> InferenceLimits:
    return InferenceLimits(asyncio.Semaphore(pictures), asyncio.Semaphore(asked))


async def look(answer: bytes | Exception, seen: Prediction | Exception, serving: ModelServing | None) -> Observation:
    async def fetch(_object: ObjectRef) -> bytes:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def detect(_model: str, _version: int, _picture: bytes, *, backfill: bool = False) -> Prediction:
        if isinstance(seen, Exception):
            raise seen
        return seen

    return await look_at(
        receive_unit(make_frame(1)), serving=lambda _tenant: serving, model_client=ModelClient(fetch, detect, limits())
    )


@pytest.mark.parametrize(
    ("answer", "seen", "serving", "frames"),
    [
        pytest.param(b"picture", LOOK, None, (), id="without-a-model-nothing-is-fetched"),
        pytest.param(b"picture", LOOK, SERVING, (Judged(UNSURE.boxes, None, b"1st2"),), id="one-model"),
        pytest.param(b"picture", LOOK, PAIR, (Judged(UNSURE.boxes, UNSURE.boxes, b"1st2"),), id="two-models"),
        pytest.param(
            ObjectMissing("gone"), LOOK, SERVING, (Unjudged(VerdictReason.OBJECT_MISSING, "gone"),), id="object-missing"
        ),
        pytest.param(
            ObjectChanged("other"),
            LOOK,
            SERVING,
            (Unjudged(VerdictReason.OBJECT_CHANGED, "other"),),
            id="object-changed",
        ),
        pytest.param(
            b"picture",
            RefusedByModel("no picture"),
            SERVING,
            (Unjudged(VerdictReason.REFUSED_BY_MODEL, "no picture"),),
            id="refused-by-the-model",
        ),
    ],
)
async def test_looking_at_frames(
    answer: bytes | Exception,
    seen: Prediction | Exception,
    serving: ModelServing | None,
    frames: tuple[Judged | Unjudged, ...],
) -> None:
    assert await look(answer, seen, serving) == Observation(receive_unit(make_frame(1)), serving, frames)


async def test_both_models_are_asked_at_once_and_pictures_are_fetched_ahead_of_the_requests() -> None:
    fetched, asked, answer = [], [], asyncio.Event()

    async def fetch(reference: ObjectRef) -> bytes:
        fetched.append(reference.key)
        return b"picture"

    async def detect(model: str, _version: int, _picture: bytes, *, backfill: bool = False) -> Prediction:
        asked.append(model)
        await answer.wait()
        return LOOK

    sent = receive_unit(*[make_frame(number) for number in range(8)])
    looking = look_at(
        sent, serving=lambda _: PAIR, model_client=ModelClient(fetch, detect, limits(pictures=5, asked=2))
    )
    task = asyncio.create_task(looking)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(fetched), asked) == (5, ["detector.acme", "second.acme"] * 2)
    answer.set()
    assert len((await task).frames) == 8


async def test_a_picture_larger_than_a_model_may_be_sent_is_not_fetched() -> None:
    async def fetch(_object: ObjectRef) -> bytes:
        raise AssertionError("it was fetched")

    async def detect(_model: str, _version: int, _picture: bytes, *, backfill: bool = False) -> Prediction:
        raise AssertionError("a model was asked")

    sent = receive_unit(make_frame(object=make_object(size_bytes=MAX_PICTURE_BYTES + 1)))
    seen = await look_at(sent, serving=lambda _: PAIR, model_client=ModelClient(fetch, detect, limits()))
    (found,) = seen.frames
    assert isinstance(found, Unjudged)
    assert found.reason is VerdictReason.REFUSED_BY_MODEL


@pytest.mark.parametrize(
    ("late", "replayed", "waits"),
    [
        pytest.param(timedelta(minutes=59), False, False, id="of-this-hour"),
        pytest.param(timedelta(minutes=61), False, True, id="taken-long-before-it-came"),
        pytest.param(timedelta(0), True, True, id="a-dead-letter-before"),
    ],
)
async def test_what_can_wait_does_not_hold_live_pictures_up(late: timedelta, replayed: bool, waits: bool) -> None:
    asked: list[dict[str, bool]] = []

    async def fetch(_object: ObjectRef) -> bytes:
        return b"picture"

    async def detect(_model: str, _version: int, _picture: bytes, **how: bool) -> Prediction:
        asked.append(how)
        return LOOK

    body = make_unit(received_at=NOW + late)
    mark = (REPLAYED_FROM, b"dlq.screen.frames.ingested.v1/1/2")
    sent = receive(body, more_headers=(mark,) if replayed else ())
    await look_at(sent, serving=lambda _: PAIR, model_client=ModelClient(fetch, detect, limits()))
    assert asked == [{"backfill": waits}] * 2


async def test_an_outage_of_the_model_server_is_not_the_units_fault() -> None:
    with pytest.raises(Transient):
        await look(b"picture", Transient("triton", "away"), SERVING)


def test_a_controlled_policy_keeps_each_slices_budget_and_the_verdict_tells_where_it_stood() -> None:
    policy = ScreenPolicy(
        version=5,
        threshold=0.9,
        audit_share=0.01,
        controlled=True,
        keep_budget=0.1,
        slice_budgets={"night/front": 0.3},
    )
    memory, told = Memory(), list[FrameScreened]()
    for number in range(6_000):
        night = number % 2
        dice = Random(number)
        seen = Judged((Box(0.1, 0.1, 0.2, 0.2, dice.random() ** (2 if night else 1), "car"),))
        one = make_frame(number, condition=Condition.NIGHT if night else Condition.RAIN)
        memory, outcome = decide(memory, Observation(receive_unit(one), SERVING, (seen,)), {"acme": policy})
        told += verdicts(outcome)
    assert told[0].threshold == 0.9, "the first frames have the policy's threshold"
    assert told[0].budget == BudgetState(budget=0.1, share=told[0].budget.share, debt=0, scores=0)  # type: ignore[union-attr]
    for condition, budget in ((Condition.RAIN, 0.1), (Condition.NIGHT, 0.3)):
        late = [verdict for verdict in told[1_000:] if verdict.condition is condition]
        assert mean(verdict.verdict is Verdict.KEPT for verdict in late) == pytest.approx(budget, abs=0.02)
        assert {verdict.budget.budget for verdict in late if verdict.budget} == {budget}


@pytest.mark.parametrize("budget", [0.01, 0.5, 1.0])
def test_a_slice_with_a_budget_of_its_own_does_not_move_the_young_ones(budget: float) -> None:
    policy = ScreenPolicy(
        version=5, threshold=0.9, audit_share=0, controlled=True, keep_budget=0.1, slice_budgets={"rain/front": budget}
    )
    memory, told = Memory(), list[FrameScreened]()
    for number in range(6_000):
        seen = Judged((Box(0.1, 0.1, 0.2, 0.2, Random(number).random(), "car"),))
        one = make_frame(number, condition=Condition.NIGHT if number % 10 == 0 else Condition.RAIN)
        memory, outcome = decide(memory, Observation(receive_unit(one), SERVING, (seen,)), {"acme": policy})
        told += verdicts(outcome)
    night = [verdict for verdict in told[3_000:] if verdict.condition is Condition.NIGHT]
    assert mean(verdict.verdict is Verdict.KEPT for verdict in night) == pytest.approx(0.1, abs=0.04)


def test_a_young_slice_says_that_its_threshold_is_not_its_own() -> None:
    policy = ScreenPolicy(version=5, threshold=0.9, audit_share=0, controlled=True)
    memory, told = Memory(), list[FrameScreened]()
    for number in range(300):
        memory, outcome = decide(
            memory, Observation(receive_unit(make_frame(number)), SERVING, (UNSURE,)), {"acme": policy}
        )
        told += verdicts(outcome)
    own = [verdict.budget.scores for verdict in told if verdict.budget]
    assert own[:200] == [0] * 200
    assert own[200] == 200


def test_every_frame_tells_what_it_was_decided_from_and_what_others_are_compared_with() -> None:
    policy = KEEP_ALL.model_copy(update={"audit_share": 0.5})
    seen = Observation(
        receive_unit(*(make_frame(number) for number in range(64))), PAIR, (Judged(UNSURE.boxes, (), b"1st2"),) * 64
    )
    told = verdicts(decide(Memory(), seen, {"acme": policy})[1])
    assert {verdict.embedding for verdict in told} == {"MXN0Mg=="}
    for verdict in told:
        assert verdict.measures
        assert (verdict.measures.lot < 0.5) is verdict.audit
        assert (verdict.measures.brightness, verdict.measures.laplacian_variance) == (0.5, 100)
        assert verdict.measures.dhash == "0000000000000000"
        assert (verdict.measures.surely, verdict.measures.perhaps) == ({"car": 1}, {"car": 1})


def test_kept_scenes_outlast_a_release_where_the_second_model_looks_at_them() -> None:
    dice, memory = np.random.default_rng(2), Memory()
    for number in range(80):
        looks = (Judged(UNSURE.boxes, (), pack(dice.standard_normal(6))),)
        memory, _ = decide(memory, Observation(receive_unit(make_frame(number)), PAIR, looks), {"acme": KEEP_ALL})
    newer = PAIR.model_copy(update={"version": PAIR.version + 1})
    for serving, is_comparable in ((newer, True), (SERVING, False)):
        (said,) = verdicts(
            decide(memory, Observation(receive_unit(make_frame(99)), serving, looks), {"acme": KEEP_ALL})[1]
        )
        assert ("novelty" in said.score_parts) is is_comparable
