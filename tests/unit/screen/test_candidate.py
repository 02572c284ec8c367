"""A version on its way: it changes no verdict as a shadow, judges its share, and never fails a unit."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import cache, partial
from random import Random
from statistics import mean
from typing import Any

import async_solipsism
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_runtime.outcome import Emit, Transient
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import FrameScreened, ModelPair, Verdict, VerdictReason
from roadloop_schemas.models import ModelServing, PrelabelPolicy, RolloutStage
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.serving_versions import draw_candidate, remembered_versions
from screen.handle import Observation, decide
from screen.inference.predict import InferenceLimits, ModelClient, RefusedByModel
from screen.memory.state import Memory
from screen.vision.detections import Box, Judged, Prediction, Unjudged
from screen.vision.embedding import pack
from tests.builders import PAIR, SERVING, make_candidate, make_frame, make_unit, receive, receive_unit
from tests.unit.screen.observing import look_at

SALT = b"a salt of 16 or more"
KEEP = ScreenPolicy(version=1, threshold=0.5, controlled=True)
OLD, NEW = (Prediction((Box(0.1, 0.1, 0.2, 0.2, score, "car"),), b"1st2") for score in (0.9, 0.5))
Detect = Callable[[str, int, bytes], Prediction]


def trying(stage: RolloutStage, share: float = 1.0, serving: ModelServing = PAIR) -> ModelServing:
    """Return version 3 serving, with version 4 on its way."""
    candidate = make_candidate(
        stage=stage,
        share=share,
        second_model=serving.second_model,
        second_version=serving.second_version,
        card=serving.card,
    )
    return serving.model_copy(update={"candidate": candidate, "previous_version": 2})


SHADOW, SHARED = trying(RolloutStage.SHADOW), trying(RolloutStage.SHARED)


async def look(serving: ModelServing, answers: Detect, *, frames: int = 2) -> tuple[Observation, list[tuple[str, int]]]:
    """Let a unit be looked at; return what was seen, and who was asked."""
    asked: list[tuple[str, int]] = []

    async def fetch(_object: ObjectRef) -> bytes:
        return b"picture"

    async def detect(model: str, version: int, picture: bytes, *, backfill: bool = False) -> Prediction:
        asked.append((model, version))
        return answers(model, version, picture)

    model_client = ModelClient(fetch, detect, InferenceLimits(asyncio.Semaphore(4), asyncio.Semaphore(4)))
    sent = receive_unit(*(make_frame(number, dhash=number) for number in range(frames)))
    return await look_at(sent, serving=lambda _: serving, model_client=model_client), asked


def by_version(_model: str, version: int, _picture: bytes) -> Prediction:
    return NEW if version == 4 else OLD


def failing(error: Exception, version: int = 4) -> Detect:
    def answers(model: str, asked: int, picture: bytes) -> Prediction:
        if asked == version:
            raise error
        return by_version(model, asked, picture)

    return answers


def verdicts(seen: Observation, memory: Memory | None = None, policy: ScreenPolicy = KEEP) -> list[FrameScreened]:
    _, outcome = decide(memory or Memory(), seen, {"acme": policy}, salt=SALT)
    assert isinstance(outcome, Emit)
    return [FrameScreened.model_validate_json(event.value or b"") for event in outcome.events]


def test_a_larger_share_only_adds_units() -> None:
    ids = [f"u-{number}" for number in range(5_000)]
    few, many = ({u for u in ids if draw_candidate(trying(RolloutStage.SHARED, share), u)} for share in (0.1, 0.5))
    assert few < many
    assert len(few) == pytest.approx(500, abs=70)
    assert len(many) == pytest.approx(2_500, abs=120)
    assert not any(draw_candidate(PAIR, u) for u in ids)


async def test_a_shadow_is_asked_together_with_the_others_and_told_beside_the_verdict() -> None:
    seen, asked = await look(SHADOW, by_version, frames=1)
    assert asked == [("detector.acme", 3), ("second.acme", 1), ("detector.acme", 4)]
    (said,) = verdicts(seen)
    alone, _ = await look(PAIR, by_version, frames=1)
    assert said.models == ModelPair(name="detector.acme", version=3, second_name="second.acme", second_version=1)
    assert said.score_parts == verdicts(alone)[0].score_parts
    assert said.measures
    assert said.measures.versions == (3, 2, 4)
    assert said.shadow
    assert (said.shadow.version, said.shadow.failure) == (4, "")
    assert said.shadow.score_parts["uncertainty"] == pytest.approx(1 / 3, abs=1e-6), "a box of 0.5, where ours has 0.9"


HANGS = "no answer within 5 times what the serving version took, and 3 s"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        pytest.param(RefusedByModel("no picture"), "no picture", id="refuses"),
        pytest.param(Transient("triton", "stub is dead"), "triton: stub is dead", id="fails"),
        pytest.param(TimeoutError(), HANGS, id="hangs"),
    ],
)
async def test_a_shadow_that_fails_fails_alone(error: Exception, failure: str) -> None:
    seen, _ = await look(SHADOW, failing(error))
    alone, _ = await look(PAIR, by_version)
    told = verdicts(seen)
    assert [one.shadow.failure for one in told if one.shadow] == [failure] * 2
    assert [without(one) for one in told] == [without(one) for one in verdicts(alone)]


@pytest.mark.parametrize(
    ("serving_s", "candidate_s", "failures"),
    [
        pytest.param(0.01, 2.9, [""], id="three-seconds-are-always-allowed"),
        pytest.param(0.01, 3.1, [HANGS], id="more-where-the-others-are-fast-is-too-much"),
        pytest.param(8.0, 30.0, [""], id="on-a-slow-machine-it-may-be-slow-too"),
        pytest.param(8.0, 41.0, [HANGS], id="but-not-slower-than-the-machine-is"),
        pytest.param(8.0, 1e9, [HANGS], id="hangs"),
    ],
)
def test_how_long_a_version_may_take_goes_by_how_long_the_serving_one_takes(
    serving_s: float, candidate_s: float, failures: list[str]
) -> None:
    async def fetch(_object: ObjectRef) -> bytes:
        return b"picture"

    async def detect(model: str, version: int, picture: bytes, *, backfill: bool = False) -> Prediction:
        await asyncio.sleep(candidate_s if version == 4 else serving_s)
        return by_version(model, version, picture)

    async def story() -> Observation:
        model_client = ModelClient(fetch, detect, InferenceLimits(asyncio.Semaphore(4), asyncio.Semaphore(4)))
        return await look_at(receive_unit(make_frame(0, dhash=0)), serving=lambda _: SHADOW, model_client=model_client)

    told = verdicts(simulated(story()))
    assert [one.shadow.failure for one in told if one.shadow] == failures
    assert [one.verdict for one in told] == [Verdict.DROPPED]


def simulated(story: Coroutine[Any, Any, Observation]) -> Observation:
    """Run on a clock that jumps to whatever is waited for next."""
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(story)


@pytest.mark.parametrize("serving", [SHADOW, SHARED], ids=["shadow", "shared"])
async def test_that_the_server_is_busy_says_nothing_of_it(serving: ModelServing) -> None:
    seen, _ = await look(serving, failing(Transient("triton", "Exceeds maximum queue size", busy=True)))
    told = verdicts(seen)
    assert [one.shadow for one in told] == [None, None]
    assert [one.models.version for one in told if one.models] == [3, 3]


async def test_a_version_judges_the_units_that_are_shared_with_it() -> None:
    seen, asked = await look(SHARED, by_version, frames=1)
    assert asked == [("detector.acme", 4), ("second.acme", 1)]
    (said,) = verdicts(seen)
    assert said.models == ModelPair(name="detector.acme", version=4, second_name="second.acme", second_version=1)
    assert said.shadow is None
    assert said.measures
    assert said.measures.versions == (4, 3, 2)


async def test_annotators_see_what_the_release_of_the_version_that_judged_says() -> None:
    serving = SHARED.model_copy(update={"prelabels": PrelabelPolicy(min_score=0.6)})
    assert serving.candidate
    candidate = serving.candidate.model_copy(update={"prelabels": PrelabelPolicy(min_score=0.1)})
    serving = serving.model_copy(update={"candidate": candidate})
    keep_all = ScreenPolicy(version=1, threshold=0.0, audit_share=0)
    by_new, _ = await look(serving, by_version, frames=1)
    by_old, _ = await look(serving, failing(RefusedByModel("no picture")), frames=1)
    told = [verdicts(seen, policy=keep_all)[0].prelabel_from for seen in (by_new, by_old)]
    assert told == [0.1, 0.6]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        pytest.param(RefusedByModel("no picture"), ["no picture"] * 2, id="refuses-each-picture"),
        pytest.param(Transient("triton", "hung"), ["triton: hung"], id="fails-once-for-the-unit"),
    ],
)
async def test_where_it_fails_the_serving_version_judges_and_the_verdict_tells(
    error: Exception, failure: list[str]
) -> None:
    seen, _ = await look(SHARED, failing(error))
    told = verdicts(seen)
    assert [one.models.version for one in told if one.models] == [3, 3]
    assert [one.shadow.failure for one in told if one.shadow] == failure
    assert all(one.verdict is not Verdict.QUARANTINED for one in told)


async def test_a_picture_that_nobody_can_read_is_not_its_fault() -> None:
    def nobody(_model: str, _version: int, _picture: bytes) -> Prediction:
        raise RefusedByModel("no picture")

    for serving in (SHADOW, SHARED):
        seen, _ = await look(serving, nobody)
        told = verdicts(seen)
        assert {one.verdict for one in told} == {Verdict.QUARANTINED}
        assert [one.shadow for one in told] == [None, None]


@pytest.mark.parametrize("serving", [SHADOW, SHARED], ids=["shadow", "shared"])
async def test_an_outage_of_the_serving_version_is_one(serving: ModelServing) -> None:
    def nobody(_model: str, _version: int, _picture: bytes) -> Prediction:
        raise Transient("triton", "away")

    with pytest.raises(Transient):
        await look(serving, nobody)


async def test_an_outage_of_the_store_is_not_its_fault() -> None:
    async def fetch(_object: ObjectRef) -> bytes:
        raise Transient("s3", "away")

    async def detect(_model: str, _version: int, _picture: bytes, *, backfill: bool = False) -> Prediction:
        raise AssertionError("nothing was fetched")

    model_client = ModelClient(fetch, detect, InferenceLimits(asyncio.Semaphore(4), asyncio.Semaphore(4)))
    with pytest.raises(Transient, match="s3"):
        await look_at(receive_unit(make_frame(1)), serving=lambda _: SHARED, model_client=model_client)


async def test_without_a_second_model_pictures_are_compared_by_the_serving_versions_eye_alone() -> None:
    """Two networks' embeddings say nothing of one another: taken in turns, each would forget the other's."""
    shared = trying(RolloutStage.SHARED, serving=SERVING)
    alone, _ = await look(SERVING, by_version)
    memory, _ = decide(Memory(), alone, {"acme": KEEP}, salt=SALT)
    seen, _ = await look(shared, by_version)
    after, _ = decide(memory, seen, {"acme": KEEP}, salt=SALT)
    assert after.scenery == memory.scenery


async def test_without_a_second_model_a_shadow_is_scored_as_it_will_judge() -> None:
    """It will see no embedding that can be compared: parts that need one are left out of its shadow's score, too."""
    memory = Memory()
    for number in range(60):
        found = Judged(OLD.boxes, None, pack(np.random.default_rng(number).normal(size=4)))
        memory, _ = decide(
            memory, Observation(receive_unit(make_frame(number)), SERVING, (found,)), {"acme": KEEP}, salt=SALT
        )
    both = [
        verdicts(
            Observation(
                receive_unit(make_frame(99)), serving, (found,), (Judged(NEW.boxes, found.second, found.embedding),)
            ),
            memory,
        )
        for serving in (trying(RolloutStage.SHADOW, serving=SERVING), SHADOW)
    ]
    (alone,), (pair,) = both
    assert alone.shadow
    assert pair.shadow
    assert "unusual" in alone.score_parts
    assert "unusual" not in alone.shadow.score_parts


def without(verdict: FrameScreened) -> FrameScreened:
    """Return a verdict without what tells of a version on its way."""
    measures = verdict.measures and verdict.measures.model_copy(update={"versions": ()})
    return verdict.model_copy(update={"shadow": None, "measures": measures})


boxes = st.floats(0, 1).map(lambda score: (Box(0.1, 0.1, 0.2, 0.2, score, "car"),))
ours = boxes.map(Judged) | st.just(Unjudged(VerdictReason.OBJECT_MISSING, "gone"))
theirs = boxes.map(Judged) | st.just(Unjudged(VerdictReason.REFUSED_BY_MODEL, "dead"))


@given(st.lists(st.tuples(ours, theirs), min_size=1, max_size=64), st.booleans())
def test_a_shadow_changes_no_verdict(
    found: list[tuple[Judged | Unjudged, Judged | Unjudged]], controlled: bool
) -> None:
    sent = receive_unit(*(make_frame(number, dhash=number) for number in range(len(found))))
    frames, shadow = tuple(one for one, _ in found), tuple(one for _, one in found)
    policy = KEEP.model_copy(update={"controlled": controlled})
    beside, alone = Observation(sent, SHADOW, frames, shadow), Observation(sent, PAIR, frames)
    assert [without(one) for one in verdicts(beside, policy=policy)] == [
        without(one) for one in verdicts(alone, policy=policy)
    ]


PARTITIONS, UNIT, STAGE = 6, 8, 150  # frames of a unit, units of a stage
SERVES_4 = PAIR.model_copy(update={"version": 4, "previous_version": 3})
BACK_TO_3 = PAIR.model_copy(update={"version": 3, "previous_version": 4})
CAREFULLY = (
    *[PAIR] * 2,
    trying(RolloutStage.SHADOW, 0.3),
    trying(RolloutStage.SHARED, 0.1),
    trying(RolloutStage.SHARED, 0.5),
    *[SERVES_4] * 2,
    *[BACK_TO_3] * 2,
)
AT_ONCE = (*[PAIR] * 2, SERVES_4)
WAYS = {"carefully": CAREFULLY, "at once": AT_ONCE}


def looks(dice: Random) -> tuple[Judged, Judged]:
    """Return what the old and the new version see in a frame: the new one is far less sure."""
    old, new = dice.betavariate(6, 1.2), dice.betavariate(2, 2)
    return tuple(Judged((Box(0.1, 0.1, 0.2, 0.2, score, "car"),), ()) for score in (old, new))  # type: ignore[return-value]


@cache
def kept_shares(seed: int, way: str) -> tuple[list[float], list[FrameScreened]]:
    """Drive a version's whole way on six partitions, each with a memory of its own.

    Return the share that is kept in each third of a stage, and all verdicts.
    """
    dice, memories, told, number = Random(seed), [Memory()] * PARTITIONS, list[FrameScreened](), 0
    for serving in WAYS[way]:
        for turn in range(STAGE):
            some = (make_frame(number + at, dhash=dice.getrandbits(64)) for at in range(UNIT))
            sent = receive(make_unit(*some, unit_id=f"u-{seed}-{number}"))
            number += UNIT
            both = [looks(dice) for _ in range(UNIT)]
            at = turn % PARTITIONS
            memories[at], outcome = decide(memories[at], _seen(sent, serving, both), {"acme": KEEP}, salt=SALT)
            assert isinstance(outcome, Emit)
            told += [FrameScreened.model_validate_json(event.value or b"") for event in outcome.events]
    kept = [one.verdict is Verdict.KEPT for one in told]
    third = UNIT * STAGE // 3
    return [mean(kept[start : start + third]) for start in range(0, len(kept), third)], told


def _seen(sent: object, serving: ModelServing, both: list[tuple[Judged, Judged]]) -> Observation:
    old, new = tuple(one for one, _ in both), tuple(one for _, one in both)
    seen = partial(Observation, sent, serving)  # type: ignore[arg-type]
    tried = draw_candidate(serving, sent.body.unit_id)  # type: ignore[attr-defined]
    if tried is None:
        return seen(new if serving.version == 4 else old)
    return seen(old, new) if tried.stage is RolloutStage.SHADOW else seen(new, by_candidate=True)


def test_a_rollout_makes_no_step_in_the_keep_rate_and_a_rollback_neither() -> None:
    """10 % are kept, within three points, in every third of every stage."""
    over_seeds = [mean(third) for third in zip(*(kept_shares(seed, "carefully")[0] for seed in range(3)), strict=True)]
    assert all(rate == pytest.approx(0.1, abs=0.03) for rate in over_seeds[3:]), over_seeds


def test_a_version_that_serves_at_once_meets_the_other_ones_threshold_and_makes_a_step() -> None:
    """The check of the check."""
    over_seeds = [mean(third) for third in zip(*(kept_shares(seed, "at once")[0] for seed in range(3)), strict=True)]
    assert over_seeds[6] > 0.15, over_seeds


def test_a_rollback_restores_the_thresholds() -> None:
    _, everywhere = kept_shares(1, "carefully")
    told = [one for at, one in enumerate(everywhere) if at // UNIT % PARTITIONS == 0]
    of_3 = [one.threshold for one in told if one.models and one.models.version == 3 and one.score is not None]
    promoted = next(at for at, one in enumerate(told) if one.measures and one.measures.versions == (4, 3))
    back = next(at for at, one in enumerate(told) if one.measures and one.measures.versions == (3, 4))
    before = [one.threshold for one in told[:promoted] if one.models and one.models.version == 3][-1]
    assert told[back].threshold == before
    assert len(set(of_3)) > 3, "it moved meanwhile"


def test_what_is_remembered_of_versions_is_bounded() -> None:
    assert remembered_versions(SHADOW) == (3, 2, 4)
    memory = Memory()
    for version in range(3, 30):
        serving = PAIR.model_copy(update={"version": version, "previous_version": version - 1})
        seen = Observation(receive_unit(make_frame(1), make_frame(2, dhash=255)), serving, (Judged(OLD.boxes, ()),) * 2)
        memory, _ = decide(memory, seen, {"acme": KEEP}, salt=SALT)
    assert {key.rpartition("@")[2] for key in memory.rates} == {"28", "29"}
