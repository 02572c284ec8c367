"""The learner's looks: after enough new labels, once, and never over a policy that somebody else has written."""

from datetime import timedelta
from random import Random

import pytest

from roadloop_runtime.records import Record
from roadloop_schemas.fields import EventBody
from roadloop_schemas.frames import VerdictReason
from roadloop_schemas.labels import LabelCompleted, LabelSource
from roadloop_schemas.policies import ScreenPolicy
from screen.learn.learner import LOOK_AFTER, Learner
from screen.state_topics.policy_topic import Change
from tests.builders import NOW, make_event, make_label, make_label_box, make_verdict, read_back

POLICY = ScreenPolicy(version=3, threshold=0.5, controlled=True, weights={"disagreement": 1.0, "low_top_score": 1.0})
CAR = make_label_box()


def record(body: EventBody) -> Record:
    return read_back(make_event(body, key="acme"))


def label(number: int, *, hard: bool, source: LabelSource = LabelSource.AUDIT) -> LabelCompleted:
    at = NOW + timedelta(minutes=number)
    boxes = (CAR,) if hard else ()
    return make_label(frame_id=f"f-{number}", boxes=boxes, source=source, captured_at=at, completed_at=at)


async def teach(learner: Learner, frames: range, *, audit: bool = True) -> None:
    """Let disagreement tell the hard frames, a fifth of all."""
    for number in frames:
        dice = Random(number)
        hard = dice.random() < 0.2
        tells = dice.betavariate(4, 2) if hard else dice.betavariate(2, 4)
        parts = {"disagreement": tells, "low_top_score": dice.random()}
        reasons = (VerdictReason.AUDIT,) if audit else (VerdictReason.SCORE,)
        said = make_verdict(frame_id=f"f-{number}", score_parts=parts, audit=audit, reasons=reasons)
        await learner.take_verdict(record(said))
        source = LabelSource.AUDIT if audit else LabelSource.CHOSEN
        await learner.take_label(record(label(number, hard=hard, source=source)))


class Desk:
    """The topic of policies; somebody else may have written a newer version."""

    def __init__(self, now: ScreenPolicy) -> None:
        self.now = now
        self.asked = 0

    async def publish(self, tenant: str, change: Change) -> int:
        assert tenant == "acme"
        self.asked += 1
        wanted = change(self.now)
        if wanted is not None:
            self.now = wanted.model_copy(update={"version": self.now.version + 1})
        return self.now.version


async def test_a_better_score_is_written_once() -> None:
    desk = Desk(POLICY)
    learner = Learner(desk.publish)
    await learner.take_policy(record(POLICY))
    await teach(learner, range(400))
    await learner.learn()
    await learner.learn()
    assert desk.asked == 1
    assert desk.now.predictor
    assert desk.now.predictor.weights["disagreement"] > 2
    await learner.take_policy(record(desk.now))
    await teach(learner, range(400, 400 + LOOK_AFTER - 1))
    await learner.learn()
    assert desk.asked == 1, "one label too few for another look"


async def test_a_policy_that_somebody_wrote_meanwhile_stays() -> None:
    newer = POLICY.model_copy(update={"version": 4, "keep_budget": 0.2})
    desk = Desk(newer)
    learner = Learner(desk.publish)
    await learner.take_policy(record(POLICY))
    await teach(learner, range(400))
    await learner.learn()
    assert (desk.asked, desk.now) == (1, newer)


@pytest.mark.parametrize("audit", [True, False], ids=["without-a-policy", "without-an-audit"])
async def test_nothing_is_learnt(audit: bool) -> None:
    desk = Desk(POLICY)
    learner = Learner(desk.publish)
    if not audit:
        await learner.take_policy(record(POLICY))
    await teach(learner, range(400), audit=audit)
    await learner.learn()
    assert desk.asked == 0
