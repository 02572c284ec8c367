"""One verdict per frame, in order; the same input decides the same; counters conserve."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from statistics import mean

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from roadloop_runtime.decode import Received
from roadloop_runtime.objects import ObjectChanged, ObjectMissing
from roadloop_runtime.outcome import DeadLetter, Emit, Transient
from roadloop_schemas.cloudevents import Attributes, derive_id, from_headers
from roadloop_schemas.fields import Condition, Detection, ObjectRef
from roadloop_schemas.frames import (
    BudgetState,
    FrameScreened,
    FramesIngested,
    IngestedFrame,
    ModelPair,
    ScreenPolicy,
    Verdict,
    VerdictReason,
)
from roadloop_schemas.models import DetectorCard, ModelServing
from screen.detections import Box
from screen.handle import RefusedByModel, Seen, observe
from screen.handle import decide as decide_salted
from screen.memory import Memory
from screen.reasons import UnitReason
from screen.verdict import Judged, Unjudged

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SERVING = ModelServing(
    model="detector.acme",
    version=3,
    release_id="r-3",
    card=DetectorCard(family="roadloop", classes=("car",), input_width=256, input_height=160),
    serving_since=NOW,
)
PAIR = SERVING.model_copy(update={"second_model": "second.acme", "second_version": 1})
decide = partial(decide_salted, salt=b"a salt of 16 or more")
KEEP_ALL = ScreenPolicy(version=4, threshold=0.0, audit_share=0)
UNSURE = Judged((Box(0.1, 0.1, 0.2, 0.2, 0.5, "car"),))


def frame(number: int, dhash: int = 0, condition: Condition = Condition.RAIN) -> IngestedFrame:
    return IngestedFrame(
        frame_id=f"f-{number}",
        object=ObjectRef(uri=f"s3://uploads/acme/car-1/{number}.jpg", sha256="0" * 64, size_bytes=10),
        width_px=640,
        height_px=480,
        captured_at=NOW,
        camera="front",
        condition=condition,
        dhash=f"{dhash:016x}",
        laplacian_variance=100,
        brightness=0.5,
    )


def unit(*frames: IngestedFrame) -> Received[FramesIngested]:
    body = FramesIngested(unit_id="u-1", upload_id="up-1", vehicle="car-1", drive="d-1", received_at=NOW, frames=frames)
    record = ConsumerRecord("frames.ingested.v1", 5, 9, 0, 0, b"car-1", b"", 0, 0, 0, ())
    return Received(
        Attributes("e-1", "/roadloop/ingest", "roadloop.frames.ingested.v1", "acme"), body, 5, 9, NOW, record
    )


def verdicts(outcome: object) -> list[FrameScreened]:
    assert isinstance(outcome, Emit)
    return [FrameScreened.model_validate_json(event.value or b"") for event in outcome.events]


def test_a_verdict_tells_all_it_takes_to_decide_again() -> None:
    boxes = (
        Box(-0.1, 0.1, 0.4, 1.2, 0.9, "car"),
        Box(0.3, 0.1, 0.2, 0.2, 0.8, "car"),
        Box(0.1, 0.1, 0.2, 0.2, 0.04, "car"),
    )
    memory, outcome = decide(Memory(), Seen(unit(frame(1)), PAIR, (Judged(boxes, ()),)), {"acme": KEEP_ALL})
    assert isinstance(outcome, Emit)
    (event,) = outcome.events
    assert (event.topic, event.key, event.partition) == ("frames.screened.v1", b"car-1", 5)
    assert from_headers(event.headers) == Attributes(
        derive_id("/roadloop/ingest", "e-1", "f-1"),
        "/roadloop/screen",
        "roadloop.frames.screened.v1",
        "acme",
        "2026-03-02T08:00:00Z",
        "f-1",
    )
    (said,) = verdicts(outcome)
    assert said.models == ModelPair(name="detector.acme", version=3, second_name="second.acme", second_version=1)
    assert (said.policy_version, said.threshold, said.slice) == (4, 0.0, "rain/front")
    assert said.score_parts.keys() == {"uncertainty", "low_top_score", "disagreement"}
    assert said.counters == memory.slices["acme/rain/front"]
    shown = Detection(x1=0, y1=0.1, x2=0.4, y2=1, class_name="car", score=0.9)
    assert said.detections == (shown,)


def test_a_frame_sees_what_the_frame_before_it_left() -> None:
    policy = KEEP_ALL.model_copy(update={"duplicate_distance": 3})
    seen = Seen(unit(frame(1, 0), frame(2, 0b111), frame(3, 0b1111)), SERVING, (UNSURE,) * 3)
    memory, outcome = decide(Memory(), seen, {"acme": policy})
    assert [said.reasons for said in verdicts(outcome)] == [
        (VerdictReason.SCORE,),
        (VerdictReason.NEAR_DUPLICATE,),
        (VerdictReason.SCORE,),
    ]
    assert [said.counters.seen for said in verdicts(outcome)] == [1, 2, 3]
    assert memory.kept["acme/car-1/front"] == (f"{0:016x}", f"{0b1111:016x}")


@pytest.mark.parametrize(
    ("policies", "version"),
    [pytest.param({"acme": KEEP_ALL}, 4, id="its-own"), pytest.param({"other": KEEP_ALL}, 0, id="else-the-default")],
)
def test_a_tenants_policy(policies: dict[str, ScreenPolicy], version: int) -> None:
    _, outcome = decide(Memory(), Seen(unit(frame(1)), SERVING, (UNSURE,)), policies)
    assert [said.policy_version for said in verdicts(outcome)] == [version]


def test_a_unit_without_a_model_is_a_dead_letter_that_says_what_to_do() -> None:
    memory, outcome = decide(Memory(), Seen(unit(frame(1)), None), {})
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
)


@given(frames.filter(lambda few: len(few) <= 64), policies)
def test_the_same_decides_the_same_and_every_frame_is_counted_once(
    sent: list[tuple[int, Condition, Judged | Unjudged]], policy: ScreenPolicy
) -> None:
    ingested = [frame(number, dhash, condition) for number, (dhash, condition, _) in enumerate(sent)]
    seen = Seen(unit(*ingested), SERVING, tuple(look for *_, look in sent))
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
def test_how_frames_are_cut_into_units_changes_no_verdict(
    sent: list[tuple[int, Condition, Judged | Unjudged]], policy: ScreenPolicy, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(sent) - 1))
    ingested = [frame(number, dhash, condition) for number, (dhash, condition, _) in enumerate(sent)]
    looks = tuple(look for *_, look in sent)
    _, whole = decide(Memory(), Seen(unit(*ingested), SERVING, looks), {"acme": policy})
    memory, first = decide(Memory(), Seen(unit(*ingested[:cut]), SERVING, looks[:cut]), {"acme": policy})
    _, second = decide(memory, Seen(unit(*ingested[cut:]), SERVING, looks[cut:]), {"acme": policy})
    assert verdicts(first) + verdicts(second) == verdicts(whole)


async def look(answer: bytes | Exception, boxes: tuple[Box, ...] | Exception, serving: ModelServing | None) -> Seen:
    async def fetch(_object: ObjectRef) -> bytes:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def detect(_model: str, _version: int, _picture: bytes) -> tuple[Box, ...]:
        if isinstance(boxes, Exception):
            raise boxes
        return boxes

    return await observe(
        unit(frame(1)), serving=lambda _tenant: serving, fetch=fetch, detect=detect, seats=asyncio.Semaphore(4)
    )


@pytest.mark.parametrize(
    ("answer", "boxes", "serving", "frames"),
    [
        pytest.param(b"picture", (), None, (), id="without-a-model-nothing-is-fetched"),
        pytest.param(b"picture", UNSURE.boxes, SERVING, (UNSURE,), id="one-model"),
        pytest.param(b"picture", UNSURE.boxes, PAIR, (Judged(UNSURE.boxes, UNSURE.boxes),), id="two-models"),
        pytest.param(
            ObjectMissing("gone"), (), SERVING, (Unjudged(VerdictReason.OBJECT_MISSING, "gone"),), id="object-missing"
        ),
        pytest.param(
            ObjectChanged("other"), (), SERVING, (Unjudged(VerdictReason.OBJECT_CHANGED, "other"),), id="object-changed"
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
    boxes: tuple[Box, ...] | Exception,
    serving: ModelServing | None,
    frames: tuple[Judged | Unjudged, ...],
) -> None:
    assert await look(answer, boxes, serving) == Seen(unit(frame(1)), serving, frames)


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
        one = frame(number, condition=Condition.NIGHT if night else Condition.RAIN)
        memory, outcome = decide(memory, Seen(unit(one), SERVING, (seen,)), {"acme": policy})
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
        one = frame(number, condition=Condition.NIGHT if number % 10 == 0 else Condition.RAIN)
        memory, outcome = decide(memory, Seen(unit(one), SERVING, (seen,)), {"acme": policy})
        told += verdicts(outcome)
    night = [verdict for verdict in told[3_000:] if verdict.condition is Condition.NIGHT]
    assert mean(verdict.verdict is Verdict.KEPT for verdict in night) == pytest.approx(0.1, abs=0.04)


def test_a_young_slice_says_that_its_threshold_is_not_its_own() -> None:
    policy = ScreenPolicy(version=5, threshold=0.9, audit_share=0, controlled=True)
    memory, told = Memory(), list[FrameScreened]()
    for number in range(300):
        memory, outcome = decide(memory, Seen(unit(frame(number)), SERVING, (UNSURE,)), {"acme": policy})
        told += verdicts(outcome)
    own = [verdict.budget.scores for verdict in told if verdict.budget]
    assert own[:200] == [0] * 200
    assert own[200] == 200
