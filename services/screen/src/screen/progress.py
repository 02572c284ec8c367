"""How far a worker's units are, and what they cost: told to whoever asks; nothing is decided by it."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from prometheus_client import Counter, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from roadloop_runtime.decode import Received
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import FramesIngested
from screen.inference.predict import ModelClient
from screen.vision.detections import Prediction

ENDED_AT_MOST = 100
Clock = Callable[[], float]
SECONDS = Histogram(
    "roadloop_unit_seconds",
    "From the first picture of a unit to its last answer.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
MODEL_SECONDS = Counter("roadloop_model_seconds", "Spent waiting for answers of a model version.", ["model", "version"])
FETCH_SECONDS = Counter("roadloop_fetch_seconds", "Spent waiting for pictures.")


@dataclass
class UnitProgress:
    """One unit: of its `frames` so many pictures were `fetched`; models gave so many `answers`, one or more a frame.

    `fetch_s` and `model_s` add up what single pictures and requests took: many are under way at once. `failure` says
    why it has to be looked at again.
    """

    unit_id: str
    tenant: str
    vehicle: str
    partition: int
    offset: int
    frames: int
    began: float
    fetched: int = 0
    answers: int = 0
    fetch_s: float = 0.0
    model_s: float = 0.0
    seconds: float = 0.0
    failure: str = ""


class Progress:
    """The units that a worker looks at now, and the last ones that it has looked at."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._under_way: dict[int, UnitProgress] = {}
        self._ended: deque[UnitProgress] = deque(maxlen=ENDED_AT_MOST)

    @contextmanager
    def follow(self, unit: Received[FramesIngested], model_client: ModelClient) -> Iterator[ModelClient]:
        """Follow a unit by the client that its models are asked with.

        One that is cancelled, because its partition moved on, is no more this worker's to tell of.
        """
        body, tenant = unit.body, unit.envelope.tenant
        where = (unit.partition, unit.offset, len(body.frames))
        following = UnitProgress(body.unit_id, tenant, body.vehicle, *where, began=self._clock())
        self._under_way[id(following)] = following
        try:
            yield self._watch(model_client, following)
            self._end(following)
        except Exception as error:
            self._end(following, f"{type(error).__name__}: {error}")
            raise
        finally:
            del self._under_way[id(following)]

    def _watch(self, model_client: ModelClient, unit: UnitProgress) -> ModelClient:
        """Return a client that counts what it does for a unit."""

        async def fetch(reference: ObjectRef) -> bytes:
            began = self._clock()
            try:
                picture = await model_client.fetch(reference)
                unit.fetched += 1
                return picture
            finally:
                took = self._clock() - began
                unit.fetch_s += took
                FETCH_SECONDS.inc(took)

        async def detect(model: str, version: int, picture: bytes, *, backfill: bool = False) -> Prediction:
            began = self._clock()
            try:
                prediction = await model_client.detect(model, version, picture, backfill=backfill)
                unit.answers += 1
                return prediction
            finally:
                took = self._clock() - began
                unit.model_s += took
                MODEL_SECONDS.labels(model, str(version)).inc(took)

        return replace(model_client, fetch=fetch, detect=detect)

    def to_json(self) -> dict[str, list[dict[str, object]]]:
        """Return the units under way and the last ones that ended, the youngest first; seconds are rounded."""
        now = self._clock()
        under_way = [replace(unit, seconds=now - unit.began) for unit in self._under_way.values()]
        return {"under_way": _to_json(under_way), "ended": _to_json(reversed(self._ended))}

    def _end(self, unit: UnitProgress, failure: str = "") -> None:
        unit.seconds, unit.failure = self._clock() - unit.began, failure[:300]
        self._ended.append(unit)
        if not failure:
            SECONDS.observe(unit.seconds)


def units_app(progress: Progress, health: Starlette) -> Starlette:
    """Serve `/v1/units` beside a worker's health."""

    async def units(_: Request) -> JSONResponse:
        return JSONResponse(progress.to_json())

    return Starlette(routes=[Route("/v1/units", units), Mount("/", health)])


def _to_json(units: Iterator[UnitProgress] | list[UnitProgress]) -> list[dict[str, object]]:
    rounded = ("fetch_s", "model_s", "seconds")
    documents = [asdict(unit) for unit in units]
    for unit in documents:
        del unit["began"]
        unit |= {name: round(unit[name], 3) for name in rounded}
    return documents
