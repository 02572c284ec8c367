"""What does not add up. Pure: facts in, findings out.

A thing is only missing when its cause is older than `patience_s`: younger ones may still be on their way.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from roadloop_audit.facts import Event, Facts, Topic

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
    cutoff = math.inf if settled else facts.read_at - patience_s
    findings: list[Finding] = []
    for check in (
        _check_deletions,
        _check_doubles,
        _check_uploads,
        _check_frames,
        _check_verdicts,
        _check_fates,
        _check_objects,
        _check_tasks,
        _check_labels,
        _check_training,
    ):
        findings += check(facts, cutoff)
    return findings + list(_check_lags(facts)) if settled else findings


def _list_topics(facts: Facts) -> tuple[Topic, ...]:
    return (facts.ingested, facts.screened, facts.requested, facts.completed, *facts.others)


def _check_deletions(facts: Facts, _cutoff: float) -> Iterator[Finding]:
    for topic in (*_list_topics(facts), facts.dead_units):
        for offsets in topic.gone:
            yield Finding("records-deleted", topic.name, offsets)


def _check_doubles(facts: Facts, _cutoff: float) -> Iterator[Finding]:
    for topic in _list_topics(facts):
        places: dict[tuple[str, str], list[str]] = {}
        for event in topic.records:
            if event.source.startswith(OURS) and not event.replayed:
                places.setdefault((event.source, event.id), []).append(event.place)
        for (source, id), event_places in places.items():
            if len(event_places) > 1:
                yield Finding("event-twice", id, f"of {source}, at {', '.join(event_places)}")


def _check_uploads(facts: Facts, _cutoff: float) -> Iterator[Finding]:
    for upload in facts.uploads:
        name = f"{upload.tenant}/{upload.upload_id}"
        if upload.admitted and upload.fated != upload.announced:
            yield Finding("files-unbalanced", name, f"{upload.announced} announced, {upload.fated} have a fate")
        if not upload.admitted and upload.fated:
            yield Finding("files-unbalanced", name, f"not admitted, but {upload.fated} files have a fate")
        if upload.frames != upload.accepted:
            yield Finding("frames-unbalanced", name, f"{upload.accepted} files accepted, {upload.frames} frames")


def _find_announced_units(facts: Facts) -> dict[str, Event]:
    return {frame["frame_id"]: unit for unit in facts.ingested.records for frame in unit.body.get("frames", ())}


def _check_frames(facts: Facts, cutoff: float) -> Iterator[Finding]:
    """Frames of events and frames of rows are the same."""
    announced, rows = _find_announced_units(facts), {frame.frame_id: frame for frame in facts.frames}
    for frame_id, unit in announced.items():
        if frame_id not in rows:
            yield Finding("frame-without-row", frame_id, f"announced at {unit.place}, ingest has no row of it")
    for frame in facts.frames:
        if frame.frame_id not in announced and facts.ingested.whole_since < frame.received_at < cutoff:
            yield Finding("frame-not-announced", frame.frame_id, f"ingest has its row, {facts.ingested.name} has not")


def _check_verdicts(facts: Facts, cutoff: float) -> Iterator[Finding]:
    """Every announced frame has one verdict, or its unit is a dead letter."""
    announced = _find_announced_units(facts)
    verdict_counts = Counter(event.body.get("frame_id", "") for event in facts.screened.records)
    dead_unit_ids = {event.body.get("unit_id") for event in facts.dead_units.records}
    for frame_id, count in verdict_counts.items():
        if count > 1:
            yield Finding("two-verdicts", frame_id, f"{count} events in {facts.screened.name}")
    for frame_id, unit in announced.items():
        is_due = facts.screened.whole_since < unit.at < cutoff
        if frame_id not in verdict_counts and unit.body.get("unit_id") not in dead_unit_ids and is_due:
            yield Finding("no-verdict", frame_id, f"announced at {unit.place}, neither screened nor a dead letter")
    known_frame_ids = announced.keys() | {frame.frame_id for frame in facts.frames}
    for event in facts.screened.records:
        if event.body.get("frame_id") not in known_frame_ids:
            yield Finding("verdict-of-nothing", str(event.body.get("frame_id")), f"at {event.place}, never announced")


def _check_fates(facts: Facts, cutoff: float) -> Iterator[Finding]:
    """Ingest's book says what the verdicts say."""
    rows = {frame.frame_id: frame.fate for frame in facts.frames}
    for event in facts.screened.records:
        frame_id, verdict = str(event.body.get("frame_id")), event.body.get("verdict")
        if frame_id in rows and rows[frame_id] != verdict and event.at < cutoff:
            yield Finding("fate-differs", frame_id, f"{verdict} at {event.place}, ingest's book says {rows[frame_id]}")


def _check_objects(facts: Facts, _cutoff: float) -> Iterator[Finding]:
    for uri, reason in facts.missing_objects.items():
        yield Finding("object-missing", uri, reason)


def _check_tasks(facts: Facts, cutoff: float) -> Iterator[Finding]:
    """Every kept frame has one task, and every task was told."""
    kept_events = {
        str(event.body.get("frame_id")): event
        for event in facts.screened.records
        if event.body.get("verdict") == "kept"
    }
    task_counts = Counter(task.frame_id for task in facts.tasks)
    requested_ids = {event.body.get("task_id") for event in facts.requested.records}
    for frame_id, event in kept_events.items():
        if frame_id not in task_counts and event.at < cutoff:
            yield Finding("no-task", frame_id, f"kept at {event.place}, label-router has no task")
    for frame_id, count in task_counts.items():
        if count > 1:
            yield Finding("two-tasks", frame_id, f"{count} tasks of one frame")
    for task in facts.tasks:
        if task.frame_id not in kept_events and task.requested_at > facts.screened.whole_since:
            yield Finding("task-of-nothing", task.task_id, f"its frame {task.frame_id} was not kept")
        if task.task_id not in requested_ids and facts.requested.whole_since < task.requested_at < cutoff:
            yield Finding("task-not-told", task.task_id, f"no event in {facts.requested.name}")
        if (task.state == "done") != (task.labels > 0):
            yield Finding("task-unbalanced", task.task_id, f"{task.state} with {task.labels} labels")


def _check_labels(facts: Facts, cutoff: float) -> Iterator[Finding]:
    """Every label was told once, and every one told is there."""
    rows = {(label.task_id, label.label_version): label for label in facts.labels}
    completed_events = {
        (str(event.body.get("task_id")), int(event.body.get("label_version", 1))): event
        for event in facts.completed.records
    }
    for key, label in rows.items():
        if key not in completed_events and label.completed_at < cutoff:
            yield Finding("label-not-told", key[0], f"version {key[1]} has a row, but no event")
    for key, event in completed_events.items():
        if key not in rows:
            yield Finding("label-without-row", key[0], f"told at {event.place}, label-router has no row")


def _check_training(facts: Facts, cutoff: float) -> Iterator[Finding]:
    """The trainer knows every label, and trains once on a dataset."""
    stored = {(row.frame_id, row.label_version) for row in facts.stored}
    completed_events = {
        (str(event.body.get("frame_id")), int(event.body.get("label_version", 1))): event
        for event in facts.completed.records
    }
    for key, event in completed_events.items():
        if key not in stored and event.at < cutoff:
            yield Finding("label-not-stored", key[0], f"told at {event.place}, trainer-trigger has no row")
    for key in stored - completed_events.keys():
        yield Finding("label-of-nothing", key[0], f"trainer-trigger has version {key[1]}, no event told it")
    runs: dict[tuple[str, str], list[str]] = {}
    for run in facts.runs:
        runs.setdefault((run.model, run.dataset_id), []).append(run.run_id)
    for (model, dataset), names in runs.items():
        if len(names) > 1:
            yield Finding("two-runs", dataset, f"{model} was trained on it by {', '.join(sorted(names))}")


def _check_lags(facts: Facts) -> Iterator[Finding]:
    for lag in facts.lags:
        if lag.records:
            where = f"{lag.topic}/{lag.partition}"
            yield Finding("behind", lag.group, f"{lag.records} records of {where} are not settled")
