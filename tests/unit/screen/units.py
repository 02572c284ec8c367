"""Units of frames, and the models that look at them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import numpy as np
from aiokafka import ConsumerRecord

from roadloop_runtime.decode import Received
from roadloop_schemas.cloudevents import Attributes, Header
from roadloop_schemas.fields import Condition, ObjectRef
from roadloop_schemas.frames import FramesIngested, IngestedFrame
from roadloop_schemas.models import DetectorCard, ModelServing
from screen.handle import Observation, observe
from screen.inference.predict import ModelClient
from screen.progress import Progress
from screen.vision.detections import Box, Judged
from screen.vision.embedding import pack

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SERVING = ModelServing(
    model="detector.acme",
    version=3,
    release_id="r-3",
    card=DetectorCard(family="roadloop", classes=("car",), input_width=256, input_height=160),
    serving_since=NOW,
)
PAIR = SERVING.model_copy(update={"second_model": "second.acme", "second_version": 1})


def frame(number: int, dhash: int = 0, condition: Condition = Condition.RAIN) -> IngestedFrame:
    return IngestedFrame(
        frame_id=f"f-{number}",
        object=ObjectRef(uri=f"s3://uploads/acme/car-1/{number}.jpg", sha256="0" * 64, size_bytes=10),
        width_px=640,
        height_px=480,
        captured_at=NOW,
        camera="front",
        condition=condition,
        dhash=f"{dhash:016x}",
        laplacian_variance=100,
        brightness=0.5,
    )


def unit(*frames: IngestedFrame, tenant: str = "acme") -> Received[FramesIngested]:
    body = FramesIngested(unit_id="u-1", upload_id="up-1", vehicle="car-1", drive="d-1", received_at=NOW, frames=frames)
    record = ConsumerRecord("frames.ingested.v1", 5, 9, 0, 0, b"car-1", b"", 0, 0, 0, ())
    return Received(
        Attributes("e-1", "/roadloop/ingest", "roadloop.frames.ingested.v1", tenant), body, 5, 9, NOW, record
    )


@dataclass(frozen=True)
class Written:
    """A memory entry as a record."""

    value: bytes | None
    key: bytes | None
    headers: tuple[Header, ...] = ()
    topic: str = "screen.memory.v1"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0


def looked_at(number: int) -> Judged:
    """Return what models saw in a frame; the same number, the same."""
    dice = Random(number)
    box = Box(0.1, 0.1, 0.2, 0.2, dice.random(), "car")
    return Judged((box,), (), pack(np.array([dice.gauss(0, 1) for _ in range(6)])))


async def look_at(
    sent: Received[FramesIngested], *, serving: Callable[[str], ModelServing | None], model_client: ModelClient
) -> Observation:
    """Observe a unit, as a worker does whom nobody watches."""
    return await observe(sent, serving=serving, model_client=model_client, progress=Progress())
