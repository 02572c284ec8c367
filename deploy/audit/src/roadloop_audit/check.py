"""What does not add up. Pure: facts in, findings out.

A thing is only missing when its cause is older than `patience_s`: younger ones may still be on their way.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from roadloop_audit.facts import Facts, Heard, Topic

OURS = "/roadloop/"  # agents may say a thing twice; what Roadloop says it says once, unless a dead letter is replayed


class Finding(NamedTuple):
    """Something that does not add up: what kind, which id, and why."""

    kind: str
    subject: str
    detail: str


def audit(facts: Facts, patience_s: float, *, settled: bool = False) -> list[Finding]:
    """Return everything that does not add up, in the order of a frame's way.

    Where all is `settled` nothing is on its way any more: everything must be there, and no group may be behind.
    """
    old = math.inf if settled else facts.read_at - patience_s
    found: list[Finding] = []
    for check in (_deleted, _twice, _uploads, _frames, _verdicts, _fates, _objects, _tasks, _labels, _training):
        found += check(facts, old)
    return found + list(_lags(facts)) if settled else found


def _topics(facts: Facts) -> tuple[Topic, ...]:
    return (facts.ingested, facts.screened, facts.requested, facts.completed, *facts.others)


def _deleted(facts: Facts, _old: float) -> Iterator[Finding]:
    for topic in (*_topics(facts), facts.dead_units):
        for gone in topic.gone:
            yield Finding("records-deleted", topic.name, gone)


def _twice(facts: Facts, _old: float) -> Iterator[Finding]:
    for topic in _topics(facts):
        places: dict[tuple[str, str], list[str]] = {}
        for heard in topic.records:
            if heard.source.startswith(OURS) and not heard.replayed:
                places.setdefault((heard.source, heard.id), []).append(heard.place)
        for (source, id), at in places.items():
            if len(at) > 1:
                yield Finding("event-twice", id, f"of {source}, at {', '.join(at)}")


def _uploads(facts: Facts, _old: float) -> Iterator[Finding]:
    for upload in facts.uploads:
        name = f"{upload.tenant}/{upload.upload_id}"
        if upload.admitted and upload.fated != upload.announced:
            yield Finding("files-unbalanced", name, f"{upload.announced} announced, {upload.fated} have a fate")
        if not upload.admitted and upload.fated:
            yield Finding("files-unbalanced", name, f"not admitted, but {upload.fated} files have a fate")
        if upload.frames != upload.accepted:
            yield Finding("frames-unbalanced", name, f"{upload.accepted} files accepted, {upload.frames} frames")


def _announced(facts: Facts) -> dict[str, Heard]:
    return {frame["frame_id"]: unit for unit in facts.ingested.records for frame in unit.body.get("frames", ())}


def _frames(facts: Facts, old: float) -> Iterator[Finding]:
    """Frames of events and frames of rows are the same."""
    announced, rows = _announced(facts), {frame.frame_id: frame for frame in facts.frames}
    for frame_id, unit in announced.items():
        if frame_id not in rows:
            yield Finding("frame-without-row", frame_id, f"announced at {unit.place}, ingest has no row of it")
    for frame in facts.frames:
        if frame.frame_id not in announced and facts.ingested.whole_since < frame.received_at < old:
            yield Finding("frame-not-announced", frame.frame_id, f"ingest has its row, {facts.ingested.name} has not")


def _verdicts(facts: Facts, old: float) -> Iterator[Finding]:
    """Every announced frame has one verdict, or its unit is a dead letter."""
    announced = _announced(facts)
    given = Counter(heard.body.get("frame_id", "") for heard in facts.screened.records)
    dead = {heard.body.get("unit_id") for heard in facts.dead_units.records}
    for frame_id, count in given.items():
        if count > 1:
            yield Finding("two-verdicts", frame_id, f"{count} events in {facts.screened.name}")
    for frame_id, unit in announced.items():
        due = facts.screened.whole_since < unit.at < old
        if frame_id not in given and unit.body.get("unit_id") not in dead and due:
            yield Finding("no-verdict", frame_id, f"announced at {unit.place}, neither screened nor a dead letter")
    known = announced.keys() | {frame.frame_id for frame in facts.frames}
    for heard in facts.screened.records:
        if heard.body.get("frame_id") not in known:
            yield Finding("verdict-of-nothing", str(heard.body.get("frame_id")), f"at {heard.place}, never announced")


def _fates(facts: Facts, old: float) -> Iterator[Finding]:
    """Ingest's book says what the verdicts say."""
    rows = {frame.frame_id: frame.fate for frame in facts.frames}
    for heard in facts.screened.records:
        frame_id, verdict = str(heard.body.get("frame_id")), heard.body.get("verdict")
        if frame_id in rows and rows[frame_id] != verdict and heard.at < old:
            yield Finding("fate-differs", frame_id, f"{verdict} at {heard.place}, ingest's book says {rows[frame_id]}")


def _objects(facts: Facts, _old: float) -> Iterator[Finding]:
    for uri, why in facts.missing_objects.items():
        yield Finding("object-missing", uri, why)


def _tasks(facts: Facts, old: float) -> Iterator[Finding]:
    """Every kept frame has one task, and every task was told."""
    kept = {str(h.body.get("frame_id")): h for h in facts.screened.records if h.body.get("verdict") == "kept"}
    per_frame = Counter(task.frame_id for task in facts.tasks)
    told = {heard.body.get("task_id") for heard in facts.requested.records}
    for frame_id, heard in kept.items():
        if frame_id not in per_frame and heard.at < old:
            yield Finding("no-task", frame_id, f"kept at {heard.place}, label-router has no task")
    for frame_id, count in per_frame.items():
        if count > 1:
            yield Finding("two-tasks", frame_id, f"{count} tasks of one frame")
    for task in facts.tasks:
        if task.frame_id not in kept and task.requested_at > facts.screened.whole_since:
            yield Finding("task-of-nothing", task.task_id, f"its frame {task.frame_id} was not kept")
        if task.task_id not in told and facts.requested.whole_since < task.requested_at < old:
            yield Finding("task-not-told", task.task_id, f"no event in {facts.requested.name}")
        if (task.state == "done") != (task.labels > 0):
            yield Finding("task-unbalanced", task.task_id, f"{task.state} with {task.labels} labels")


def _labels(facts: Facts, old: float) -> Iterator[Finding]:
    """Every label was told once, and every one told is there."""
    rows = {(label.task_id, label.label_version): label for label in facts.labels}
    told = {(str(h.body.get("task_id")), int(h.body.get("label_version", 1))): h for h in facts.completed.records}
    for key, label in rows.items():
        if key not in told and label.completed_at < old:
            yield Finding("label-not-told", key[0], f"version {key[1]} has a row, but no event")
    for key, heard in told.items():
        if key not in rows:
            yield Finding("label-without-row", key[0], f"told at {heard.place}, label-router has no row")


def _training(facts: Facts, old: float) -> Iterator[Finding]:
    """The trainer knows every label, and trains once on a dataset."""
    stored = {(row.frame_id, row.label_version) for row in facts.stored}
    told = {(str(h.body.get("frame_id")), int(h.body.get("label_version", 1))): h for h in facts.completed.records}
    for key, heard in told.items():
        if key not in stored and heard.at < old:
            yield Finding("label-not-stored", key[0], f"told at {heard.place}, trainer-trigger has no row")
    for key in stored - told.keys():
        yield Finding("label-of-nothing", key[0], f"trainer-trigger has version {key[1]}, no event told it")
    runs: dict[tuple[str, str], list[str]] = {}
    for run in facts.runs:
        runs.setdefault((run.model, run.dataset_id), []).append(run.run_id)
    for (model, dataset), names in runs.items():
        if len(names) > 1:
            yield Finding("two-runs", dataset, f"{model} was trained on it by {', '.join(sorted(names))}")


def _lags(facts: Facts) -> Iterator[Finding]:
    for lag in facts.lags:
        if lag.records:
            where = f"{lag.topic}/{lag.partition}"
            yield Finding("behind", lag.group, f"{lag.records} records of {where} are not settled")
