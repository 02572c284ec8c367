"""Pictures that a model is asked about in the same turn of the event loop go to it in one request.

A request costs a worker the same whatever is in it, and the server hands its answers out by the batch: of the next
pictures, those that take the places of a batch are asked about together without any of them having waited.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from screen.inference.predict import RefusedByModel
from screen.vision.detections import Prediction

AT_MOST = 4  # as many as `serving/config.json` lets a batch have
LARGE_BYTES = 512 * 1024  # in one request all are as long as the longest, and beside a large picture a request is small


class Asked(NamedTuple):
    """Whom a picture is for, and how soon."""

    model: str
    version: int
    priority: int


class PendingPicture(NamedTuple):
    """A picture, and where what the model makes of it goes."""

    picture: bytes
    answer: asyncio.Future[Prediction]


Infer = Callable[[Asked, Sequence[bytes]], Awaitable[Sequence[Prediction]]]
"""Asks about pictures in one request. Raises RefusedByModel where one of them is at fault, Transient for the rest."""


def grouped(waiting: Sequence[PendingPicture], at_most: int) -> Iterator[list[PendingPicture]]:
    """Yield those that go together, in the order they came; large pictures go alone."""
    small = [one for one in waiting if len(one.picture) <= LARGE_BYTES]
    yield from (small[at : at + at_most] for at in range(0, len(small), at_most))
    yield from ([one] for one in waiting if len(one.picture) > LARGE_BYTES)


class RequestBatcher:
    """Asks about pictures by `infer`, `at_most` so many in a request."""

    def __init__(self, infer: Infer, at_most: int = AT_MOST) -> None:
        self._infer = infer
        self._at_most = at_most
        self._waiting: dict[Asked, list[PendingPicture]] = {}
        self._one_each: set[tuple[str, int]] = set()  # versions from before there were requests of many
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Asked, picture: bytes) -> Prediction:
        """Return what a model makes of a picture. Raises what `infer` raises for this picture alone."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(asked, [])
        if not waiting:
            loop.call_soon(self._send, asked)
        waiting.append(PendingPicture(picture, loop.create_future()))
        return await waiting[-1].answer

    def _send(self, asked: Asked) -> None:
        waiting = [one for one in self._waiting.pop(asked) if not one.answer.done()]
        for group in grouped(waiting, 1 if asked[:2] in self._one_each else self._at_most):
            task = asyncio.create_task(self._answer(asked, group))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _answer(self, asked: Asked, group: Sequence[PendingPicture]) -> None:
        """Ask about a group; where that is refused about each alone, so that nobody answers for another's picture."""
        try:
            looks = await self._infer(asked, [one.picture for one in group])
        except RefusedByModel as error:
            if len(group) == 1:
                _fail(group, error)
                return
            await asyncio.gather(*(self._answer(asked, [one]) for one in group))
            if not any(one.answer.cancelled() or one.answer.exception() for one in group):
                self._one_each.add((asked.model, asked.version))
        except asyncio.CancelledError:
            for one in group:
                one.answer.cancel()
            raise
        except Exception as error:
            _fail(group, error)
        else:
            for one, look in zip(group, looks, strict=True):
                if not one.answer.done():
                    one.answer.set_result(look)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _fail(group: Sequence[PendingPicture], error: Exception) -> None:
    for one in group:
        if not one.answer.done():
            one.answer.set_exception(error)
