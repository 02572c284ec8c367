"""Between processes and servers: every request and every answer takes its time, and may be lost."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.servers.clock import OUTSIDE

LOST_AFTER_S = 0.25
LATEST_S = 3.0
RETRY_S = 0.02


class Lost(ConnectionError):
    """No answer came. Whether the request arrived, nobody knows."""


class Again(Exception):
    """The server asks for the same request a moment later, as CONCURRENT_TRANSACTIONS does."""


class Network:
    """Delays are drawn from the seed. A server that is away, or a lossy time, loses requests and answers."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self.away: set[str] = set()
        self.loss: dict[str, float] = {}

    def delay_s(self) -> float:
        """Mostly a few milliseconds, now and then a third of a second."""
        draw = self._dice.random()
        if draw < 0.85:
            return 0.001 + 0.004 * draw
        return 0.01 if draw < 0.97 else 0.3 * self._dice.random()

    def goodbye_s(self) -> float:
        """Return how long it takes to close a connection in order."""
        return 0.25 * self._dice.random() ** 2

    async def call(self, server: str, request: Callable[..., Any], *args: Any) -> Any:
        """Send one request and return its answer, or raise what the server raises, or Lost."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self._loses(server):
            self._loop.call_later(LOST_AFTER_S, _fail, answer, Lost(server), context=OUTSIDE)
            if self._dice.random() < 0.5:  # nobody waits for it any more, but it arrives
                late_s = LATEST_S * self._dice.random()
                self._loop.call_later(late_s, self._arrive, server, request, args, answer, context=OUTSIDE)
        else:
            self._loop.call_later(self.delay_s(), self._arrive, server, request, args, answer, context=OUTSIDE)
        return await answer

    async def insist(self, server: str, request: Callable[..., Any], *args: Any) -> Any:
        """Send the same request until it is answered: for what is idempotent. The caller sets the time limit."""
        while True:
            try:
                return await self.call(server, request, *args)
            except (Lost, Again):
                await asyncio.sleep(RETRY_S)

    def _arrive(
        self, server: str, request: Callable[..., Any], args: tuple[Any, ...], answer: "asyncio.Future[Any]"
    ) -> None:
        try:
            found = request(*args)
        except Exception as error:
            self._reply(server, answer, _fail, error)
            return
        if isinstance(found, asyncio.Future):
            found.add_done_callback(lambda done: self._pass_on(server, answer, done), context=OUTSIDE)
        else:
            self._reply(server, answer, _succeed, found)

    def _pass_on(self, server: str, answer: "asyncio.Future[Any]", done: "asyncio.Future[Any]") -> None:
        error = done.exception()
        if error is None:
            self._reply(server, answer, _succeed, done.result())
        else:
            self._reply(server, answer, _fail, error)

    def _reply(self, server: str, answer: "asyncio.Future[Any]", give: Callable[..., None], what: Any) -> None:
        if self._loses(server):
            self._loop.call_later(LOST_AFTER_S, _fail, answer, Lost(server), context=OUTSIDE)
        else:
            self._loop.call_later(self.delay_s(), give, answer, what, context=OUTSIDE)

    def _loses(self, server: str) -> bool:
        return server in self.away or self._dice.random() < self.loss.get(server, 0.0)


def _succeed(answer: "asyncio.Future[Any]", what: Any) -> None:
    if not answer.done():
        answer.set_result(what)


def _fail(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
