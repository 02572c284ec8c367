"""Which verdict becomes a task, and what its request says."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from label_router.handle import (
    REQUESTED,
    NewTask,
    Observation,
    Policy,
    decide,
    observe,
    prelabels,
)
from label_router.reasons import SkipReason, TaskReason
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter, Emit, Skip
from roadloop_schemas.cloudevents import Attributes, derive_id, from_headers
from roadloop_schemas.fields import Detection, ObjectRef
from roadloop_schemas.frames import FrameScreened, SliceCounters, Verdict, VerdictReason
from roadloop_schemas.labels import LabelRequested

RECEIVED_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
WRITTEN_AT = datetime(2026, 3, 1, 8, 1, tzinfo=UTC)
ENVELOPE = Attributes("e-1", "/roadloop/screen", "roadloop.frames.screened.v1", "acme")
RECORD = ConsumerRecord("frames.screened.v1", 0, 0, 0, 0, b"v-1", b"", 0, 3, 0, ())
OBJECT = ObjectRef(uri="s3://uploads/acme/f-1.jpg", sha256="0" * 64, size_bytes=10)
CAR = Detection(class_name="car", x1=0.1, y1=0.1, x2=0.4, y2=0.4, score=0.9)
MAYBE = Detection(class_name="truck", x1=0.5, y1=0.1, x2=0.9, y2=0.4, score=0.3)
HARDLY = Detection(class_name="bus", x1=0.5, y1=0.5, x2=0.9, y2=0.9, score=0.29)
KEPT = FrameScreened(
    frame_id="f-1",
    unit_id="u-1",
    upload_id="up-1",
    vehicle="v-1",
    drive="d-1",
    object=OBJECT,
    captured_at=RECEIVED_AT,
    received_at=RECEIVED_AT,
    width_px=640,
    height_px=480,
    verdict=Verdict.KEPT,
    reasons=(VerdictReason.SCORE,),
    slice="clear/front",
    policy_version=1,
    threshold=0.5,
    counters=SliceCounters(seen=1, kept=1, dropped=0, quarantined=0),
    detections=(CAR, MAYBE, HARDLY),
)


def seen(verdict: FrameScreened = KEPT, classes: tuple[str, ...] = (), **envelope: str) -> Observation:
    return Observation(Received(ENVELOPE._replace(**envelope), verdict, 0, 0, WRITTEN_AT, RECORD), classes)


def variant(**changes: Any) -> FrameScreened:
    return KEPT.model_copy(update=changes)


@pytest.mark.parametrize(
    ("verdict", "classes", "expected"),
    [
        pytest.param(KEPT, (), (CAR, MAYBE), id="a score of 0.3 is shown, one below is not"),
        pytest.param(variant(audit=True), (), (), id="an audit frame is blind"),
        pytest.param(KEPT, ("truck", "bus"), (MAYBE,), id="a class the queue does not ask for is not shown"),
        pytest.param(variant(detections=()), ("car",), (), id="nothing seen, nothing shown"),
        pytest.param(variant(prelabel_from=0.5), (), (CAR,), id="the release of its version says from which score on"),
        pytest.param(variant(prelabel_from=0.0), (), (CAR, MAYBE, HARDLY), id="or that all are shown"),
    ],
)
def test_prelabels(verdict: FrameScreened, classes: tuple[str, ...], expected: tuple[Detection, ...]) -> None:
    assert prelabels(verdict, classes, Policy()) == expected


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        pytest.param(Verdict.DROPPED, Skip(SkipReason.DROPPED), id="a dropped frame asks nobody"),
        pytest.param(Verdict.QUARANTINED, Skip(SkipReason.QUARANTINED), id="a quarantined frame asks nobody"),
    ],
)
def test_a_frame_that_was_not_kept_is_skipped(verdict: Verdict, expected: Skip) -> None:
    assert decide(None, seen(variant(verdict=verdict)), Policy()) == (None, expected)


@pytest.mark.parametrize("tenant", ["Acme", "a/b", "a\x00b", "-a", "a" * 64])
def test_a_tenant_that_is_none_is_a_dead_letter(tenant: str) -> None:
    _, outcome = decide(None, seen(tenant=tenant), Policy())
    assert isinstance(outcome, DeadLetter)
    assert (outcome.reason, outcome.field) == (TaskReason.BAD_TENANT, "ce_tenant")


def test_a_kept_frame_becomes_one_task_and_one_request() -> None:
    _, outcome = decide(None, seen(classes=("car", "truck")), Policy())
    assert isinstance(outcome, Emit)
    task_id = derive_id("task", "acme", "f-1")
    assert outcome.changes == (NewTask(task_id, "acme", "acme.default", KEPT, WRITTEN_AT),)
    (request,) = outcome.events
    assert (request.topic, request.key) == (REQUESTED, task_id.encode())
    assert from_headers(request.headers).id == derive_id(REQUESTED, "e-1")
    assert LabelRequested.model_validate_json(request.value or b"") == LabelRequested(
        task_id=task_id,
        frame_id="f-1",
        upload_id="up-1",
        vehicle="v-1",
        queue="acme.default",
        object=OBJECT,
        classes=("car", "truck"),
        prelabels=(CAR, MAYBE),
        audit=False,
        requested_at=WRITTEN_AT,
    )


def test_a_replay_decides_the_same() -> None:
    assert decide(None, seen(), Policy()) == decide(None, seen(), Policy())


async def test_classes_are_looked_up_for_kept_frames_alone() -> None:
    asked = []

    async def classes_of(tenant: str) -> tuple[str, ...]:
        asked.append(tenant)
        return ("car",)

    for verdict in Verdict:
        await observe(seen(variant(verdict=verdict)).received, classes_of=classes_of)
    assert await observe(seen().received, classes_of=classes_of) == seen(classes=("car",))
    assert asked == ["acme", "acme"]
