"""A task, and the lease by which somebody works on it: live until its expiry; an expired one holds nothing."""

from dataclasses import dataclass
from datetime import datetime

from label_router.refusals import lease_gone
from label_router.tables.annotator_table import Annotator
from roadloop_schemas.frames import FrameScreened


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a task, and until when."""

    lease_id: str
    annotator_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is in the table. `lease` is the one given last, live or expired."""

    task_id: str
    tenant: str
    done: bool
    verdict: FrameScreened
    lease: Lease | None


def require_lease(task: Task, annotator: Annotator, lease_id: str, now: datetime) -> None:
    """Raise Problem unless this annotator holds this task by this lease now."""
    lease = task.lease
    if lease is None or (lease.lease_id, lease.annotator_id) != (lease_id, annotator.annotator_id):
        raise lease_gone(task.task_id, f"lease {lease_id} does not hold it: it ended, or is not yours")
    if lease.expires_at <= now:
        raise lease_gone(task.task_id, f"lease {lease_id} expired at {lease.expires_at.isoformat()}")
