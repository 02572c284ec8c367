"""Simulated annotators: they pull leased tasks over HTTP, correct the pre-labels as people do, and submit."""

import asyncio
from typing import Any

import httpx
from numpy.random import default_rng

from roadloop_world.actors.annotation_errors import Skill, annotate
from roadloop_world.actors.fleet import Truth
from roadloop_world.rendering.drives import TruthBox

PAUSE_S = 0.3


async def label_tasks(
    client: httpx.AsyncClient, token: str, truth: Truth, skill: Skill, *, seed: int, stopping: asyncio.Event
) -> int:
    """Label task after task until told to stop; return how many were submitted."""
    rng = default_rng(seed)
    bearer = {"Authorization": f"Bearer {token}"}
    submitted = 0
    while not stopping.is_set():
        answer = await client.post("/v1/tasks/next", headers=bearer)
        if answer.status_code == 204:
            await _pause(stopping)
            continue
        answer.raise_for_status()
        task = answer.json()
        prelabels = tuple(_to_truth_box(box) for box in task["prelabels"])
        # of a frame that an earlier run took, and this one does not know, there is only what the model drew
        true_boxes = truth.boxes(task["frame_id"]) if task["frame_id"] in truth.frames else prelabels
        boxes = annotate(true_boxes, prelabels, rng, skill)
        submission = {
            "lease_id": task["lease_id"],
            "boxes": [_to_json(box) for box in boxes],
            "lead_time_s": 4 + 3 * len(boxes),
        }
        response = await client.post(f"/v1/tasks/{task['task_id']}/submit", json=submission, headers=bearer)
        response.raise_for_status()
        submitted += 1
    return submitted


async def _pause(stopping: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(PAUSE_S):
            await stopping.wait()
    except TimeoutError:
        return


def _to_truth_box(box: dict[str, Any]) -> TruthBox:
    return TruthBox(box["class_name"], box["x1"], box["y1"], box["x2"], box["y2"])


def _to_json(box: TruthBox) -> dict[str, Any]:
    edges = {name: min(1.0, max(0.0, getattr(box, name))) for name in ("x1", "y1", "x2", "y2")}
    return {"class_name": box.class_name, **edges}
