"""Drive the product's own screening over a stream. The only place that knows how it is called.

Units go through `screen.handle.decide` one after another, as a worker's do; the audit's labels come late, and what they
teach becomes the next version of the policy, as `screen.learn` makes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import numpy as np
from aiokafka import ConsumerRecord
from numpy.typing import NDArray

from learning.look import Predictions, Rows
from learning.stream import Moment
from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import Emit
from roadloop_schemas.cloudevents import Attributes
from roadloop_schemas.fields import LabelBox, ObjectRef
from roadloop_schemas.frames import FrameScreened, FramesIngested, IngestedFrame, Verdict
from roadloop_schemas.models import DetectorCard, ModelServing
from roadloop_schemas.policies import ScreenPolicy
from roadloop_world.rendering.scenes import CLASSES
from screen.decision.score import scale_of
from screen.handle import Observation, decide
from screen.learn.improve_policy import improve_policy
from screen.learn.labelled_audit import LabelledFrame, read_audited_frame
from screen.memory.state import Memory
from screen.view import score_histograms
from screen.view.slice_budgets import choose_budgets
from screen.vision.detections import Box, Judged
from screen.vision.embedding import pack

TENANT, SALT = "bench", b"of the learning bench"
START = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
SERVING = ModelServing(
    model="detector.bench",
    version=1,
    release_id="bench",
    card=DetectorCard(family="roadloop", classes=CLASSES, input_width=256, input_height=160),
    serving_since=START,
)
PAIR = SERVING.model_copy(update={"second_model": "second.bench", "second_version": 1})
LABELS_COME_AFTER = 1_000  # frames of the fleet
LOOKS_AGAIN_EVERY = 500


@dataclass(frozen=True, slots=True)
class Day:
    """A stream as screening meets it, with the labels that people would give its frames."""

    units: tuple[Observation, ...]
    labels: tuple[tuple[LabelBox, ...], ...]

    @property
    def frames(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Screened:
    """What became of a day's n frames, and what the audit of it can teach."""

    kept: NDArray[np.bool_]
    parts: tuple[Mapping[str, float], ...]
    labelled_frames: tuple[LabelledFrame, ...]
    policy: ScreenPolicy


def make_day(number: int, stream: Sequence[Moment], predictions: Predictions, *, second: str, unit: int) -> Day:
    """Return a stream as the units of one day, `number` days after `START`.

    `second` is "other" for the second model, "clone" for the first one again, or "none".
    """
    serving = SERVING if second == "none" else PAIR
    units = [
        Observation(
            _make_unit(number, places, stream, predictions),
            serving,
            tuple(_make_judged(predictions, place, second) for place in places),
        )
        for places in _group(stream, unit)
    ]
    return Day(tuple(units), tuple(_make_labels(predictions.of("truth", place)) for place in range(len(stream))))


def _group(stream: Sequence[Moment], size: int) -> Iterator[range]:
    """Return which frames travel together: neighbours in a drive, `size` at most."""
    start = 0
    for place in range(1, len(stream) + 1):
        is_whole = place - start == size
        if place == len(stream) or is_whole or stream[place].drive.number != stream[start].drive.number:
            yield range(start, place)
            start = place


def _make_unit(
    number: int, places: range, stream: Sequence[Moment], predictions: Predictions
) -> Received[FramesIngested]:
    first = stream[places.start].drive
    vehicle, drive, unit_id = f"car-{first.vehicle}", f"day{number}-d{first.number}", f"day{number}-u{places.start}"
    body = FramesIngested(
        unit_id=unit_id,
        upload_id=drive,
        vehicle=vehicle,
        drive=drive,
        received_at=_received_at(number, places.start),
        frames=tuple(_make_frame(number, place, stream[place], predictions) for place in places),
    )
    record = ConsumerRecord("frames.ingested.v1", 0, places.start, 0, 0, vehicle.encode(), b"", 0, 0, 0, ())
    envelope = Attributes(unit_id, "/roadloop/ingest", "roadloop.frames.ingested.v1", TENANT)
    return Received(envelope, body, 0, places.start, body.received_at, record)


def _received_at(number: int, place: int) -> datetime:
    """Return when a frame of a day came in: frames come one a second."""
    return START + timedelta(days=number, seconds=place)


def _make_frame(number: int, place: int, moment: Moment, predictions: Predictions) -> IngestedFrame:
    frame_id = f"day{number}-{place:06d}"
    sha256 = blake2b(frame_id.encode(), digest_size=32).hexdigest()
    return IngestedFrame(
        frame_id=frame_id,
        object=ObjectRef(uri=f"s3://uploads/{TENANT}/{frame_id}.jpg", sha256=sha256, size_bytes=1),
        width_px=256,
        height_px=160,
        captured_at=_received_at(number, place),
        camera=moment.drive.camera,
        condition=moment.segment.reported,
        dhash=f"{int(predictions.dhash[place]):016x}",
        laplacian_variance=float(predictions.laplacian_variance[place]),
        brightness=float(predictions.brightness[place]),
    )


def _make_judged(predictions: Predictions, place: int, second: str) -> Judged:
    boxes = _make_boxes(predictions.of("ours", place))
    if second == "other":
        return Judged(boxes, _make_boxes(predictions.of("theirs", place)), pack(predictions.their_embedding[place]))
    return Judged(boxes, boxes if second == "clone" else None, pack(predictions.our_embedding[place]))


def _make_boxes(rows: Rows) -> tuple[Box, ...]:
    return tuple(Box(r[0], r[1], r[2], r[3], r[4], CLASSES[int(r[5])]) for r in rows.tolist())


def _make_labels(rows: Rows) -> tuple[LabelBox, ...]:
    return tuple(LabelBox(x1=r[0], y1=r[1], x2=r[2], y2=r[3], class_name=CLASSES[int(r[4])]) for r in rows.tolist())


def screen(
    today: Day, policy: ScreenPolicy, *, before: Sequence[LabelledFrame] = (), donors: NDArray[np.int64] | None = None
) -> Screened:
    """Screen a day as it comes, with the labelled frames of the days `before`.

    `donors` say whose errors each frame has: its own unless truth was shuffled.
    """
    memory, kept, parts, table = Memory(), list[bool](), list[Mapping[str, float]](), dict[str, Mapping[str, Any]]()
    labelled_frames, waiting, next_look = list(before), list[tuple[int, LabelledFrame]](), 0
    for unit in today.units:
        if len(kept) >= next_look:
            next_look += LOOKS_AGAIN_EVERY
            labelled_frames += [labelled for place, labelled in waiting if place + LABELS_COME_AFTER <= len(kept)]
            waiting = [(place, labelled) for place, labelled in waiting if place + LABELS_COME_AFTER > len(kept)]
            policy = _next_version(policy, improve_policy(labelled_frames, policy))
            policy = _next_version(policy, _replace_budgets(table, policy))
        memory, outcome = decide(memory, unit, {TENANT: policy}, salt=SALT)
        for verdict in _read_verdicts(outcome):
            score_histograms.take(table, 0, len(kept), TENANT, verdict)
            if verdict.audit:
                donor = len(kept) if donors is None else int(donors[len(kept)])
                waiting.append((len(kept), _make_labelled_frame(verdict, today, len(kept), donor)))
            kept.append(verdict.verdict is Verdict.KEPT)
            parts.append(verdict.score_parts)
    return Screened(np.array(kept), tuple(parts), (*labelled_frames, *(labelled for _, labelled in waiting)), policy)


def _read_verdicts(outcome: object) -> Iterator[FrameScreened]:
    if not isinstance(outcome, Emit):
        raise TypeError(f"screening gives a unit of the bench up: {outcome}")
    return (FrameScreened.model_validate_json(event.value or b"{}") for event in outcome.events)


def _replace_budgets(table: Mapping[str, Mapping[str, Any]], policy: ScreenPolicy) -> ScreenPolicy | None:
    """Return the policy with the budgets that the view would move; None where it leaves them."""
    budgets = choose_budgets(score_histograms.add_up_scores(table, TENANT, scale_of(policy)), policy)
    if budgets is None:
        return None
    return policy.model_copy(update={"slice_budgets": {**policy.slice_budgets, **budgets}})


def _next_version(policy: ScreenPolicy, changed: ScreenPolicy | None) -> ScreenPolicy:
    return policy if changed is None else changed.model_copy(update={"version": policy.version + 1})


def _make_labelled_frame(verdict: FrameScreened, today: Day, place: int, donor: int) -> LabelledFrame:
    """Return an audit frame with its labels; one that got another's errors has that one's detections and labels."""
    audited_frame = read_audited_frame(verdict)
    at = verdict.received_at + timedelta(seconds=LABELS_COME_AFTER)
    if donor != place:
        donor_look = [frame for unit in today.units for frame in unit.frames][donor]
        claims = tuple(box for box in donor_look.boxes if box.score >= 0.35) if isinstance(donor_look, Judged) else ()
        audited_frame = replace(audited_frame, boxes=claims)
    return LabelledFrame(audited_frame, today.labels[donor], at)
