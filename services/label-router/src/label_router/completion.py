"""May this submission become the label of its task? Pure: the task as it is locked, and what was handed in."""

from dataclasses import dataclass
from datetime import datetime

from label_router.handle import SOURCE
from label_router.lease import Task, require_lease
from label_router.refusals import already_labelled
from label_router.submission import Submission, check_classes
from label_router.tables.annotator_table import Annotator
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import LabelBox
from roadloop_schemas.labels import LabelCompleted, LabelSource
from roadloop_schemas.topics import LABELS_COMPLETED

COMPLETED = LABELS_COMPLETED
FIRST_VERSION = 1


@dataclass(frozen=True, slots=True)
class Label:
    """A label as it is in the table."""

    task_id: str
    label_version: int
    annotator_id: str
    lease_id: str
    boxes: tuple[LabelBox, ...]
    lead_time_s: float
    completed_at: datetime


def require_repeat(label: Label, annotator: Annotator, submission: Submission) -> None:
    """Raise Problem unless a task's label is what is handed in again, by the same lease.

    The lead time may differ: a client that lost the answer may have gone on counting.
    """
    if (label.lease_id, label.annotator_id) != (submission.lease_id, annotator.annotator_id):
        raise already_labelled(label.task_id, "it was labelled under another lease")
    if label.boxes != submission.boxes:
        raise already_labelled(label.task_id, "this lease handed in other boxes before")


def complete(
    task: Task, annotator: Annotator, submission: Submission, *, classes: tuple[str, ...], now: datetime
) -> Label:
    """Make the first label of a task. Raises Problem where the lease does not hold or a class is not asked for."""
    require_lease(task, annotator, submission.lease_id, now)
    check_classes(submission.boxes, classes)
    return Label(
        task.task_id,
        FIRST_VERSION,
        annotator.annotator_id,
        submission.lease_id,
        submission.boxes,
        submission.lead_time_s,
        now,
    )


def completed_event(task: Task, label: Label) -> Event:
    """Announce a label. Only audit frames may become validation, so the source comes from the verdict."""
    verdict = task.verdict
    body = LabelCompleted(
        task_id=task.task_id,
        frame_id=verdict.frame_id,
        upload_id=verdict.upload_id,
        vehicle=verdict.vehicle,
        drive=verdict.drive,
        object=verdict.object,
        slice=verdict.slice,
        condition=verdict.condition,
        label_version=label.label_version,
        boxes=label.boxes,
        annotator=label.annotator_id,
        source=LabelSource.AUDIT if verdict.audit else LabelSource.CHOSEN,
        inclusion_probability=verdict.inclusion_probability,
        captured_at=verdict.captured_at,
        completed_at=label.completed_at,
        lead_time_s=label.lead_time_s,
    )
    return to_cloud_event(
        COMPLETED,
        body,
        id=derive_id(COMPLETED, task.task_id, label.label_version),
        source=SOURCE,
        tenant=task.tenant,
        key=verdict.frame_id,
        time=label.completed_at,
    )
