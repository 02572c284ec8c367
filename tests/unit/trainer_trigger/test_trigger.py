"""When to train."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from roadloop_schemas.fields import ObjectRef
from trainer_trigger.tables.spec import Spec
from trainer_trigger.trigger import Facts, StartRun, Wait, WaitReason, attempt_of, is_time

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SET = ObjectRef(uri="s3://datasets/acme/base.zip", sha256="0" * 64, size_bytes=1)
SPEC = Spec(min_labels=50, base_set=SET, validation_set=SET, steps=10, cooldown_s=600)
DUE = Facts(now=NOW, serving_version=3, new_labels=50)


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        pytest.param(DUE, StartRun(3), id="as-many-labels-as-wanted-are-enough"),
        pytest.param(
            replace(DUE, serving_version=None),
            Wait(WaitReason.NOTHING_SERVES),
            id="nothing-serves-to-start-from",
        ),
        pytest.param(
            replace(DUE, unanswered_release=4),
            Wait(WaitReason.RELEASE_UNANSWERED, "version 4"),
            id="a-release-waits-for-screening-to-load-it",
        ),
        pytest.param(replace(DUE, open_run="r1"), Wait(WaitReason.RUN_OPEN, "r1"), id="one-run-at-a-time"),
        pytest.param(
            replace(DUE, new_labels=49), Wait(WaitReason.TOO_FEW_LABELS, "49 of 50"), id="one-label-too-few-is-too-few"
        ),
        pytest.param(
            replace(DUE, last_ended_at=NOW - timedelta(seconds=599)),
            Wait(WaitReason.COOLING_DOWN, "1 s left"),
            id="the-last-run-ended-just-now",
        ),
        pytest.param(
            replace(DUE, last_ended_at=NOW - timedelta(seconds=600)), StartRun(3), id="the-cooldown-ends-on-the-second"
        ),
        pytest.param(
            replace(DUE, new_labels=1, last_ended_at=NOW),
            Wait(WaitReason.TOO_FEW_LABELS, "1 of 50"),
            id="too-few-labels-are-said-before-the-cooldown",
        ),
    ],
)
def test_it_is_time_to_train(facts: Facts, decision: StartRun | Wait) -> None:
    assert is_time(facts, SPEC) == decision


def test_the_same_data_is_tried_three_times_and_no_more() -> None:
    assert [attempt_of(failed) for failed in range(5)] == [0, 1, 2, None, None]
