"""What annotators ask over HTTP: the next task, hand it in, give it back, how much is left."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel

from label_router.handle import queue_of
from label_router.lease import Task
from label_router.prelabels import Policy, choose_prelabels
from label_router.refusals import MAX_BODY_BYTES, no_such_task, too_large, unknown_annotator
from label_router.submission import LEASE_SCHEMA, SUBMISSION_SCHEMA, read_lease, read_submission
from label_router.tables import annotator_table, label_table, lease_table, queue_classes_table, task_table
from label_router.tables.annotator_table import Annotator
from roadloop_runtime.service.http import dependencies_of, make_http_app, read_token
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.fields import Detection, ObjectRef

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

routes = APIRouter(prefix="/v1")


@dataclass(frozen=True)
class Dependencies:
    """What the routes need. `now` is asked once per request; `picture_url` signs a link that ends by itself."""

    pool: Pool
    now: Callable[[], datetime]
    picture_url: Callable[[ObjectRef], str]
    lease_s: float
    policy: Policy


Needs = Annotated[Dependencies, Depends(dependencies_of)]


class NextTask(BaseModel):
    """A leased task. Nothing here tells an audit frame from another one without detections."""

    task_id: str
    lease_id: str
    lease_expires_at: datetime
    frame_id: str
    picture_url: str
    width_px: int
    height_px: int
    classes: tuple[str, ...]
    prelabels: tuple[Detection, ...]


class Saved(BaseModel):
    """A label that is saved."""

    task_id: str
    label_version: int
    completed_at: datetime


class Queue(BaseModel):
    """How much waits, is being labelled, and is done."""

    queue: str
    waiting: int
    leased: int
    done: int


def make_app(needs: Dependencies) -> FastAPI:
    """Make the app. Every answer that is no success is a problem of RFC 9457."""
    return make_http_app("Roadloop label-router", routes, needs, max_body_bytes=MAX_BODY_BYTES)


def takes(schema: Mapping[str, object]) -> dict[str, object]:
    """Describe a body that a route reads by itself, so that it can say which box breaks which rule."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def authenticate(needs: Needs, token: Annotated[str, Depends(read_token)]) -> Annotator:
    """Return whose token the request carries. Raises Problem."""
    annotator = await annotator_table.find(needs.pool, token)
    if annotator is None:
        raise unknown_annotator()
    return annotator


Caller = Annotated[Annotator, Depends(authenticate)]


async def body_of(request: Request, _: Caller) -> bytes:
    """Read the body of somebody known, never more than the limit. Raises Problem."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large()
    return body


Body = Annotated[bytes, Depends(body_of)]


async def task_named(task_id: str) -> str:
    """Return the task id of the path. Raises Problem where no task can have it."""
    if not TASK_ID.fullmatch(task_id):
        raise no_such_task(task_id)
    return task_id


TaskId = Annotated[str, Depends(task_named)]


@routes.post("/tasks/next", response_model=NextTask, responses={204: {"description": "Nothing waits."}})
async def next_task(needs: Needs, annotator: Caller) -> NextTask | Response:
    """Lease the task that has waited longest. Who holds a live lease gets the same task again."""
    task = await lease_table.lease_next(
        needs.pool, annotator, lease_id=secrets.token_hex(16), now=needs.now(), lease_s=needs.lease_s
    )
    if task is None:
        return Response(status_code=204)
    return show(task, await queue_classes_table.classes_of(needs.pool, annotator.tenant), needs)


def show(task: Task, classes: tuple[str, ...], needs: Dependencies) -> NextTask:
    """Write a leased task as its annotator sees it."""
    lease, verdict = task.lease, task.verdict
    if lease is None:
        raise LookupError(f"task {task.task_id} was leased and has no lease")
    return NextTask(
        task_id=task.task_id,
        lease_id=lease.lease_id,
        lease_expires_at=lease.expires_at,
        frame_id=verdict.frame_id,
        picture_url=needs.picture_url(verdict.object),
        width_px=verdict.width_px,
        height_px=verdict.height_px,
        classes=classes,
        prelabels=choose_prelabels(verdict, classes, needs.policy),
    )


@routes.post("/tasks/{task_id}/submit", openapi_extra=takes(SUBMISSION_SCHEMA))
async def submit(task_id: TaskId, body: Body, needs: Needs, annotator: Caller) -> Saved:
    """Save `{lease_id, boxes: [{class_name, x1, y1, x2, y2}], lead_time_s}`; the same again gives the same answer."""
    label = await label_table.submit(needs.pool, annotator, task_id, read_submission(body), now=needs.now())
    return Saved(task_id=label.task_id, label_version=label.label_version, completed_at=label.completed_at)


@routes.post("/tasks/{task_id}/return", status_code=204, openapi_extra=takes(LEASE_SCHEMA))
async def give_back(task_id: TaskId, body: Body, needs: Needs, annotator: Caller) -> None:
    """Give a task back by `{lease_id}`; it waits again, behind the others."""
    await lease_table.give_back(needs.pool, annotator, task_id, lease_id=read_lease(body), now=needs.now())


@routes.get("/queue")
async def queue(needs: Needs, annotator: Caller) -> Queue:
    """Count the tasks of the annotator's tenant."""
    count = await task_table.count(needs.pool, annotator.tenant, now=needs.now())
    return Queue(queue=queue_of(annotator.tenant), waiting=count.waiting, leased=count.leased, done=count.done)
