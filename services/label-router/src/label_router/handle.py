"""The story of a verdict: a kept frame becomes one task, everything else is no work for people."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from label_router.prelabels import Policy, choose_prelabels
from label_router.reasons import SkipReason, TaskReason
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome, Skip
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import is_tenant
from roadloop_schemas.frames import FrameScreened, Verdict
from roadloop_schemas.labels import LabelRequested
from roadloop_schemas.topics import LABELS_REQUESTED

REQUESTED = LABELS_REQUESTED
SOURCE = "/roadloop/label-router"

ClassesOf = Callable[[str], Awaitable[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Observation:
    """A verdict and the classes its tenant asks for; no classes means every class."""

    received: Received[FrameScreened]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewTask:
    """A row to insert into `tasks`."""

    task_id: str
    tenant: str
    queue: str
    verdict: FrameScreened
    requested_at: datetime


async def observe(received: Received[FrameScreened], *, classes_of: ClassesOf) -> Observation:
    """Look up the classes of the tenant's queue, for kept frames alone."""
    tenant = received.envelope.tenant
    if received.body.verdict is not Verdict.KEPT or not is_tenant(tenant):
        return Observation(received, ())
    return Observation(received, await classes_of(tenant))


def decide(memory: None, seen: Observation, policy: Policy) -> tuple[None, Outcome]:
    """Make one task of a kept frame. The same frame gives the same task id, whatever event brought it.

    It is requested when its verdict was written: a replay says the same.
    """
    envelope, verdict = seen.received.envelope, seen.received.body
    if not is_tenant(envelope.tenant):
        return memory, _bad_tenant(envelope.tenant)
    if verdict.verdict is not Verdict.KEPT:
        return memory, Skip(SkipReason(verdict.verdict.value))
    task = NewTask(
        derive_id("task", envelope.tenant, verdict.frame_id),
        envelope.tenant,
        queue_of(envelope.tenant),
        verdict,
        seen.received.written_at,
    )
    return memory, Emit((_request(task, seen, policy),), (task,))


def queue_of(tenant: str) -> str:
    return f"{tenant}.default"


def _request(task: NewTask, seen: Observation, policy: Policy) -> Event:
    verdict = task.verdict
    body = LabelRequested(
        task_id=task.task_id,
        frame_id=verdict.frame_id,
        upload_id=verdict.upload_id,
        vehicle=verdict.vehicle,
        queue=task.queue,
        object=verdict.object,
        classes=seen.classes,
        prelabels=choose_prelabels(verdict, seen.classes, policy),
        audit=verdict.audit,
        requested_at=task.requested_at,
    )
    return to_cloud_event(
        REQUESTED,
        body,
        id=derive_id(REQUESTED, seen.received.envelope.id),
        source=SOURCE,
        tenant=task.tenant,
        key=task.task_id,
        time=task.requested_at,
    )


def _bad_tenant(tenant: str) -> DeadLetter:
    return DeadLetter(
        TaskReason.BAD_TENANT,
        detail=f"ce_tenant {ascii(tenant)[:100]} is not a tenant name",
        field="ce_tenant",
        rule="1 to 63 of a-z, 0-9 and -, with no - at either end",
        remedy="send the verdict with the tenant its unit had, then replay",
    )
