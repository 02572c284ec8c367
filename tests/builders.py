"""Events and Kafka records as tests need them: each kind is made here, with usual values that a test may replace.

A name that is no field of a body is a mistake in a test and is refused; whatever else is given is validated as what
comes from Kafka is.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeVar

import numpy as np
from aiokafka import ConsumerRecord

from roadloop_runtime.decode import Received
from roadloop_runtime.records import Event, Record, to_cloud_event
from roadloop_schemas.cloudevents import Header, from_headers
from roadloop_schemas.fields import Condition, Detection, EventBody, LabelBox, ObjectRef
from roadloop_schemas.frames import FrameScreened, FramesIngested, IngestedFrame, SliceCounters, Verdict, VerdictReason
from roadloop_schemas.labels import LabelCompleted, LabelSource
from roadloop_schemas.models import (
    Candidate,
    DetectorCard,
    ModelReleased,
    ModelServing,
    RolloutStage,
    TrainingChanged,
    TrainingState,
)
from roadloop_schemas.topics import read_topic_files
from roadloop_schemas.uploads import UploadCompleted, UploadedFile
from screen.vision.detections import Box, Judged
from screen.vision.embedding import pack

B = TypeVar("B", bound=EventBody)
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
TOPICS = {topic.body: topic for topic in read_topic_files().values() if topic.body}
# of an upload by one vehicle of one tenant: what its file, frame, verdict and label agree on
UPLOAD = {"upload_id": "up-1", "vehicle": "car-1", "drive": "d-1"}


def _make(body: type[B], usual: Mapping[str, object], changes: Mapping[str, object]) -> B:
    """Return a body with its usual values, but for the changes; raise TypeError where one is no field of it."""
    if unknown := changes.keys() - body.model_fields.keys():
        raise TypeError(f"{body.__name__} has no {', '.join(sorted(unknown))}")
    return body.model_validate({**usual, **changes})


def make_object(name: str = "1.jpg", **changes: Any) -> ObjectRef:
    """Return where a picture of the vehicle lies."""
    usual = {"uri": f"s3://uploads/acme/car-1/{name}", "sha256": "0" * 64, "size_bytes": 10}
    return _make(ObjectRef, usual, changes)


def make_label_box(class_name: str = "car", **changes: Any) -> LabelBox:
    usual = {"class_name": class_name, "x1": 0.1, "y1": 0.1, "x2": 0.3, "y2": 0.3}
    return _make(LabelBox, usual, changes)


def make_detection(class_name: str = "car", score: float = 0.9, **changes: Any) -> Detection:
    usual = {"class_name": class_name, "score": score, "x1": 0.1, "y1": 0.1, "x2": 0.3, "y2": 0.3}
    return _make(Detection, usual, changes)


def make_judged(number: int) -> Judged:
    """Return what models saw in a frame; the same number, the same."""
    dice = Random(number)
    box = Box(0.1, 0.1, 0.2, 0.2, dice.random(), "car")
    return Judged((box,), (), pack(np.array([dice.gauss(0, 1) for _ in range(6)])))


def make_card(**changes: Any) -> DetectorCard:
    usual = {"family": "roadloop", "classes": ("car",), "input_width": 256, "input_height": 160}
    return _make(DetectorCard, usual, changes)


def make_candidate(**changes: Any) -> Candidate:
    """Return version 4 on its way: it looks at every unit beside the one that serves."""
    usual = {"version": 4, "release_id": "r-4", "stage": RolloutStage.SHADOW, "share": 1.0, "card": make_card()}
    return _make(Candidate, usual, changes)


def make_file(number: int = 1, **changes: Any) -> UploadedFile:
    usual = {"object": make_object(f"{number}.jpg"), "captured_at": NOW, "media_type": "image/jpeg"}
    return _make(UploadedFile, usual, changes)


def make_frame(number: int = 1, dhash: int = 0, condition: Condition = Condition.RAIN, **changes: Any) -> IngestedFrame:
    """Return a sharp, well exposed frame; `dhash` has the 64 bits of its difference hash."""
    usual = {
        "frame_id": f"f-{number}",
        "object": make_object(f"{number}.jpg"),
        "width_px": 640,
        "height_px": 480,
        "captured_at": NOW,
        "camera": "front",
        "condition": condition,
        "dhash": f"{dhash:016x}",
        "laplacian_variance": 100,
        "brightness": 0.5,
    }
    return _make(IngestedFrame, usual, changes)


def make_upload(*files: UploadedFile, **changes: Any) -> UploadCompleted:
    """Return an upload as ingest completes it over HTTP: of one file, unless some are given."""
    usual = {**UPLOAD, "files": files or (make_file(),), "completed_at": NOW, "received_at": NOW}
    return _make(UploadCompleted, usual, changes)


def make_unit(*frames: IngestedFrame, **changes: Any) -> FramesIngested:
    """Return a unit of one frame, unless some are given."""
    usual = {**UPLOAD, "unit_id": "u-1", "received_at": NOW, "frames": frames or (make_frame(),)}
    return _make(FramesIngested, usual, changes)


def make_verdict(**changes: Any) -> FrameScreened:
    """Return a verdict on a frame that its score kept."""
    usual = {
        **UPLOAD,
        "frame_id": "f-1",
        "unit_id": "u-1",
        "object": make_object(),
        "captured_at": NOW,
        "received_at": NOW,
        "width_px": 640,
        "height_px": 480,
        "verdict": Verdict.KEPT,
        "reasons": (VerdictReason.SCORE,),
        "slice": "rain/front",
        "policy_version": 1,
        "threshold": 0.5,
        "score": 0.6,
        "counters": SliceCounters(seen=1, kept=1, dropped=0, quarantined=0),
    }
    return _make(FrameScreened, usual, changes)


def make_label(**changes: Any) -> LabelCompleted:
    """Return a label that says: there is nothing in this frame."""
    usual = {
        **UPLOAD,
        "task_id": "t-1",
        "frame_id": "f-1",
        "object": make_object(),
        "slice": "rain/front",
        "boxes": (),
        "annotator": "a-1",
        "source": LabelSource.CHOSEN,
        "captured_at": NOW,
        "completed_at": NOW,
        "lead_time_s": 3.0,
    }
    return _make(LabelCompleted, usual, changes)


def make_training(**changes: Any) -> TrainingChanged:
    """Return the first that is told of a run: it is queued."""
    usual = {
        "run_id": "r-1",
        "revision": 0,
        "state": TrainingState.QUEUED,
        "model": "detector.acme",
        "dataset_id": "d-1",
        "labels": 2,
        "base_version": 1,
        "frame_ids": ("f-1", "f-2"),
        "changed_at": NOW,
    }
    return _make(TrainingChanged, usual, changes)


def make_release(version: int = 3, **changes: Any) -> ModelReleased:
    usual = {
        "release_id": f"r-{version}",
        "model": "detector.acme",
        "version": version,
        "weights": ObjectRef(uri="s3://models/acme/model.onnx", sha256="0" * 64, size_bytes=4),
        "card": make_card(),
        "released_at": NOW,
    }
    return _make(ModelReleased, usual, changes)


def make_serving(version: int = 3, **changes: Any) -> ModelServing:
    """Return what screening says of a version that judges alone, without a second model."""
    usual = {
        "model": "detector.acme",
        "version": version,
        "release_id": f"r-{version}",
        "card": make_card(),
        "serving_since": NOW,
    }
    return _make(ModelServing, usual, changes)


SERVING = make_serving()
PAIR = make_serving(second_model="second.acme", second_version=1)


def make_event(
    body: EventBody,
    *,
    id: str = "e-1",
    source: str = "",
    tenant: str = "acme",
    key: str = "car-1",
    time: datetime = NOW,
    subject: str = "",
) -> Event:
    """Return a body as its topic's owner would write it, unless another source is given."""
    topic = TOPICS[type(body)]
    by = source or f"/roadloop/{topic.owner}"
    return to_cloud_event(topic.name, body, id=id, source=by, tenant=tenant, key=key, time=time, subject=subject)


def make_record(
    value: bytes | None = b"",
    *,
    topic: str = "frames.ingested.v1",
    partition: int = 5,
    offset: int = 9,
    key: bytes | None = b"car-1",
    headers: tuple[Header, ...] = (),
    written_at_ms: int = NOW_MS,
) -> Record:
    """Return a record as the client gives it, whatever stands in it."""
    record: Record = ConsumerRecord(topic, partition, offset, written_at_ms, 0, key, value, 0, 0, 0, headers)
    return record


def read_back(written: Event, *, offset: int = 9, partition: int = 5, written_at: datetime = NOW) -> Record:
    """Return an event as it is read from its topic; where it names its partition, from that."""
    return make_record(
        written.value,
        topic=written.topic,
        partition=partition if written.partition is None else written.partition,
        offset=offset,
        key=written.key,
        headers=written.headers,
        written_at_ms=round(written_at.timestamp() * 1000),
    )


def receive(
    body: B,
    *,
    id: str = "e-1",
    source: str = "",
    tenant: str = "acme",
    written_at: datetime = NOW,
    value: bytes | None = None,
    more_headers: tuple[Header, ...] = (),
) -> Received[B]:
    """Return a body as a handler is given it. Where it matters to the byte what was signed, `value` is the record's."""
    written = make_event(body, id=id, source=source, tenant=tenant)
    written = written._replace(value=written.value if value is None else value, headers=written.headers + more_headers)
    record = read_back(written, written_at=written_at)
    return Received(from_headers(written.headers), body, record.partition, record.offset, written_at, record)


def receive_unit(*frames: IngestedFrame, tenant: str = "acme") -> Received[FramesIngested]:
    return receive(make_unit(*frames), tenant=tenant)
