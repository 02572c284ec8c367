"""Which verdict becomes a task, and what its request says."""

from datetime import UTC, datetime
from typing import Any

import pytest

from label_router.handle import NewTask, Observation, decide, observe
from label_router.prelabels import Policy, choose_prelabels
from label_router.reasons import SkipReason, TaskReason
from roadloop_runtime.outcome import DeadLetter, Emit, Skip
from roadloop_schemas.cloudevents import from_headers
from roadloop_schemas.fields import Detection
from roadloop_schemas.frames import FrameScreened, Verdict
from roadloop_schemas.labels import LabelRequested
from tests.builders import make_detection, make_object, make_verdict, receive

WRITTEN_AT = datetime(2026, 3, 2, 8, 1, tzinfo=UTC)
CAR = make_detection("car", 0.9)
MAYBE = make_detection("truck", 0.3)
HARDLY = make_detection("bus", 0.29)


def variant(**changes: Any) -> FrameScreened:
    return make_verdict(**({"detections": (CAR, MAYBE, HARDLY)} | changes))


KEPT = variant()


def seen(verdict: FrameScreened = KEPT, classes: tuple[str, ...] = (), tenant: str = "acme") -> Observation:
    return Observation(receive(verdict, tenant=tenant, written_at=WRITTEN_AT), classes)


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
    assert choose_prelabels(verdict, classes, Policy()) == expected


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
    task_id = "29a978b2fa015bad8b3726bce170f157"
    assert outcome.changes == (NewTask(task_id, "acme", "acme.default", KEPT, WRITTEN_AT),)
    (request,) = outcome.events
    assert (request.topic, request.key) == ("labels.requested.v1", b"29a978b2fa015bad8b3726bce170f157")
    assert from_headers(request.headers).id == "4bc7b5fdea93abf0e099165980b1c2d2"
    assert LabelRequested.model_validate_json(request.value or b"") == LabelRequested(
        task_id=task_id,
        frame_id="f-1",
        upload_id="up-1",
        vehicle="car-1",
        queue="acme.default",
        object=make_object(),
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
