"""Pictures that a model is asked about in the same turn of the event loop go to it in one request.

A request costs a worker the same whatever is in it, and the server hands its answers out by the batch: of the next
pictures, those that take the places of a batch are asked about together without any of them having waited.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from screen.inference.backfill_priority import BACKFILL, LIVE
from screen.inference.predict import MAX_PICTURE_BYTES, RefusedByModel
from screen.vision.detections import Prediction

AT_MOST = 4  # as many as `serving/config.json` lets a batch have
LARGE_BYTES = 512 * 1024  # in one request all are as long as the longest, and beside a large picture a request is small


class BatchKey(NamedTuple):
    """Whom a picture is for, and how soon: pictures of one key go in one request."""

    model: str
    version: int
    priority: int


class PendingPicture(NamedTuple):
    """A picture, and where what the model makes of it goes."""

    picture: bytes
    answer: asyncio.Future[Prediction]


Infer = Callable[[BatchKey, Sequence[bytes]], Awaitable[Sequence[Prediction]]]
"""Asks about pictures in one request. Raises RefusedByModel where one of them is at fault, Transient for the rest."""


def group_pictures(pending: Sequence[PendingPicture], at_most: int) -> Iterator[list[PendingPicture]]:
    """Yield those that go together, in the order they came; large pictures go alone."""
    small = [item for item in pending if len(item.picture) <= LARGE_BYTES]
    yield from (small[at : at + at_most] for at in range(0, len(small), at_most))
    yield from ([item] for item in pending if len(item.picture) > LARGE_BYTES)


class RequestBatcher:
    """Asks about pictures by `infer`, `at_most` so many in a request."""

    def __init__(self, infer: Infer, at_most: int = AT_MOST) -> None:
        self._infer = infer
        self._at_most = at_most
        self._pending: dict[BatchKey, list[PendingPicture]] = {}
        self._one_each: set[tuple[str, int]] = set()  # versions from before there were requests of many
        self._under_way: set[asyncio.Task[None]] = set()

    async def detect(self, model: str, version: int, picture: bytes, *, backfill: bool = False) -> Prediction:
        """Return what a model version makes of a JPEG or PNG. `backfill` waits while anything else does.

        Raises RefusedByModel where the picture is at fault, Transient for the rest.
        """
        if not 0 < len(picture) <= MAX_PICTURE_BYTES:
            raise RefusedByModel(f"{len(picture)} bytes; 1 to {MAX_PICTURE_BYTES} are taken")
        loop = asyncio.get_running_loop()
        key = BatchKey(model, version, BACKFILL if backfill else LIVE)
        pending = self._pending.setdefault(key, [])
        if not pending:
            loop.call_soon(self._send, key)
        pending.append(PendingPicture(picture, loop.create_future()))
        return await pending[-1].answer

    def _send(self, key: BatchKey) -> None:
        pending = [item for item in self._pending.pop(key) if not item.answer.done()]
        for batch in group_pictures(pending, 1 if key[:2] in self._one_each else self._at_most):
            task = asyncio.create_task(self._answer(key, batch))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _answer(self, key: BatchKey, batch: Sequence[PendingPicture]) -> None:
        """Ask about a batch; where that is refused about each alone, so that nobody answers for another's picture."""
        try:
            predictions = await self._infer(key, [item.picture for item in batch])
        except RefusedByModel as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            await asyncio.gather(*(self._answer(key, [item]) for item in batch))
            if not any(item.answer.cancelled() or item.answer.exception() for item in batch):
                self._one_each.add((key.model, key.version))
        except asyncio.CancelledError:
            for item in batch:
                item.answer.cancel()
            raise
        except Exception as error:
            _fail(batch, error)
        else:
            for item, prediction in zip(batch, predictions, strict=True):
                if not item.answer.done():
                    item.answer.set_result(prediction)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _fail(batch: Sequence[PendingPicture], error: Exception) -> None:
    for item in batch:
        if not item.answer.done():
            item.answer.set_exception(error)
