"""A TCP proxy in front of a server: it passes, is slow, hangs, cuts, or answers with an error."""

import asyncio
from contextlib import suppress
from enum import StrEnum

SLOW_S, REQUEST_S = 0.15, 30.0
CHUNK = 65_536
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Mode(StrEnum):
    """What the proxy does with bytes."""

    PASS = "pass"
    SLOW = "slow"
    HANG = "add_kept_scene"
    CUT = "cut"
    ERROR = "error"  # for HTTP: every new connection gets a 503


class Proxy:
    """Listens on a port of its own, for one server. `mode` may change any time; `sent_bytes` came from the server."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.mode = Mode.PASS
        self.port = 0
        self.sent_bytes = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    def be(self, mode: Mode) -> None:
        """Change the mode; a cut ends all connections at once."""
        self.mode = mode
        if mode is Mode.HANG:
            self._passing.clear()
        else:
            self._passing.set()
        if mode in (Mode.CUT, Mode.ERROR):
            for writer in list(self._open):
                writer.transport.abort()

    async def close(self) -> None:
        self.be(Mode.CUT)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.CUT:
            writer.transport.abort()
            return
        if self.mode is Mode.ERROR:
            await _answer(reader, writer)
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back))
                group.create_task(self._pump(there, writer, counted=True))
        finally:
            self._open -= {writer, back}
            for end in (writer, back):
                end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: bool = False) -> None:
        """Pass bytes on until one side ends. The other side then ends, too."""
        with suppress(ConnectionError, OSError):
            while chunk := await source.read(CHUNK):
                await self._passing.wait()
                self.sent_bytes += counted * len(chunk)
                if self.mode is Mode.SLOW:
                    await asyncio.sleep(SLOW_S)
                sink.write(chunk)
                await sink.drain()
        sink.transport.abort() if self.mode is Mode.CUT else sink.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whatever is asked with an error, as an overloaded gateway does."""
    with suppress(ConnectionError, OSError, TimeoutError):
        async with asyncio.timeout(REQUEST_S):
            await reader.read(CHUNK)
            writer.write(UNAVAILABLE)
            await writer.drain()
    writer.close()


async def open_proxy(target: int) -> Proxy:
    """Start a proxy for the server on a port."""
    proxy = Proxy(target)
    await proxy.start()
    return proxy
