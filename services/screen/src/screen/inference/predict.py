"""Look at the pictures of a unit: they are fetched ahead, and all models are asked at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from roadloop_runtime.gather import gather_bounded
from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.frames import IngestedFrame, ModelPair, VerdictReason
from screen.inference.candidate_timeout import allow_s, describe_failure
from screen.vision.detections import Judged, Prediction, Unjudged

MAX_PICTURE_BYTES = 20 * 1024 * 1024

Model = tuple[str, int]  # name, version
Predictions = tuple[Judged | Unjudged, ...]
Fetch = Callable[[ObjectRef], Awaitable[bytes]]


class Detect(Protocol):
    """Ask one model about one picture; `backfill` waits while live requests do. Raises RefusedByModel or Transient."""

    def __call__(
        self, model: str, version: int, picture: bytes, *, backfill: bool = False
    ) -> Awaitable[Prediction]: ...


class RefusedByModel(Exception):
    """The model server says that this picture never will work."""


@dataclass(frozen=True, slots=True)
class InferenceLimits:
    """What all units share: how many pictures are held at once, and of how many of them the models are asked.

    More are held than asked of: the next ones are fetched while the server is busy. All models of a picture are asked
    together. Were requests counted, those to the slowest would fill all seats, and the others' batches stay small.
    """

    pictures: asyncio.Semaphore
    asked: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class ModelClient:
    """What it takes to look at pictures."""

    fetch: Fetch
    detect: Detect
    limits: InferenceLimits

    def for_backfill(self) -> "ModelClient":
        """Return a client whose requests wait while live ones do."""
        return replace(self, detect=partial(self.detect, backfill=True))

    async def predict(self, frames: Sequence[IngestedFrame], models: ModelPair) -> Predictions:
        """Return what a pair of models makes of frames; raise Transient."""
        return (await self.predict_with_candidate(frames, models, models))[0]

    async def predict_with_candidate(
        self, frames: Sequence[IngestedFrame], models: ModelPair, candidate: ModelPair
    ) -> tuple[Predictions, Predictions]:
        """Return what the serving pair makes of frames, and another one; failures of that one are part of its answer.

        Raises Transient where the serving pair fails.
        """
        both = partial(self._predict_frame, serving=_models_of(models), candidate=_models_of(candidate))
        pairs = await gather_bounded(both, frames, self.limits.pictures)
        return tuple(by_serving for by_serving, _ in pairs), tuple(by_candidate for _, by_candidate in pairs)

    async def _predict_frame(
        self, frame: IngestedFrame, *, serving: Sequence[Model], candidate: Sequence[Model]
    ) -> tuple[Judged | Unjudged, Judged | Unjudged]:
        if frame.object.size_bytes > MAX_PICTURE_BYTES:
            detail = f"more than {MAX_PICTURE_BYTES} bytes are not even fetched"
            return (Unjudged(VerdictReason.REFUSED_BY_MODEL, detail),) * 2
        try:
            picture = await self.fetch(frame.object)
        except ObjectMissing as error:
            return (Unjudged(VerdictReason.OBJECT_MISSING, str(error)),) * 2
        except ObjectChanged as error:
            return (Unjudged(VerdictReason.OBJECT_CHANGED, str(error)),) * 2
        async with self.limits.asked:
            answers = await self._ask_all(picture, serving, [model for model in candidate if model not in serving])
        return _join([answers[model] for model in serving]), _join([answers[model] for model in candidate])

    async def _ask_all(
        self, picture: bytes, serving: Sequence[Model], tried: Sequence[Model]
    ) -> dict[Model, Prediction | Unjudged]:
        """Ask all models at once; those that are only tried have so many times as long as those that serve took."""
        if not tried:
            return dict(zip(serving, await self._ask_serving(picture, serving), strict=True))
        began, served = asyncio.get_running_loop().time(), asyncio.Event()
        asking = asyncio.ensure_future(self._ask_serving(picture, serving))
        asking.add_done_callback(lambda _: served.set())
        trying = asyncio.ensure_future(
            gather_bounded(partial(self._try, picture, served, began), tried, asyncio.Semaphore(len(tried)))
        )
        try:
            return dict(zip((*serving, *tried), (*await asking, *await trying), strict=True))
        finally:
            for task in (asking, trying):
                task.cancel()
            await asyncio.gather(asking, trying, return_exceptions=True)

    async def _ask_serving(self, picture: bytes, serving: Sequence[Model]) -> tuple[Prediction | Unjudged, ...]:
        return await gather_bounded(partial(self._ask, picture), serving, asyncio.Semaphore(len(serving)))

    async def _ask(self, picture: bytes, model: Model) -> Prediction | Unjudged:
        try:
            return await self.detect(*model, picture)
        except RefusedByModel as error:
            return Unjudged(VerdictReason.REFUSED_BY_MODEL, str(error)[:500])

    async def _try(self, picture: bytes, served: asyncio.Event, began: float, model: Model) -> Prediction | Unjudged:
        """Ask a model that is only tried; that it fails, or is far slower than what serves, is part of its answer."""
        asked = asyncio.ensure_future(self._ask(picture, model))
        try:
            await served.wait()
            took_s = asyncio.get_running_loop().time() - began
            async with asyncio.timeout(allow_s(took_s) - took_s):
                return await asked
        except (Transient, TimeoutError) as error:
            return describe_failure(error)
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)


def _join(answers: Sequence[Prediction | Unjudged]) -> Judged | Unjudged:
    """Return what the models saw together: boxes of each, and the embedding of the last, which stays for longest."""
    for answer in answers:
        if isinstance(answer, Unjudged):
            return answer
    predictions = [answer for answer in answers if isinstance(answer, Prediction)]
    second = predictions[1].boxes if len(predictions) > 1 else None
    return Judged(predictions[0].boxes, second, predictions[-1].embedding)


def _models_of(models: ModelPair) -> tuple[Model, ...]:
    """Return the models to ask together, the serving one first."""
    if models.second_name is None or models.second_version is None:
        return ((models.name, models.version),)
    return (models.name, models.version), (models.second_name, models.second_version)
