"""Health and metrics, on a port of their own.

`/livez` asks nothing but whether the loops turn; `/readyz` what the next request needs; `/metrics` is Prometheus'.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import uvicorn
from prometheus_client import make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.service.liveness import is_stuck

Check = Callable[[], Awaitable[bool]]


def make_health_app(loops: Sequence[Loop], checks: Mapping[str, Check], stopping: asyncio.Event) -> Starlette:
    """Make the app. A loop is stuck when it did not turn for a minute, whether or not Kafka answers."""

    async def livez(_: Request) -> JSONResponse:
        now = asyncio.get_running_loop().time()
        stuck = any(is_stuck(loop, now) for loop in loops)
        return JSONResponse({"live": not stuck}, 503 if stuck else 200)

    async def readyz(_: Request) -> JSONResponse:
        results = {name: await check() for name, check in checks.items()}
        results["joined"] = all(loop.joined for loop in loops)
        results["running"] = not stopping.is_set()
        return JSONResponse(results, 200 if all(results.values()) else 503)

    return Starlette(
        routes=[Route("/livez", livez), Route("/readyz", readyz), Mount("/metrics", make_asgi_app())],
    )


async def serve_http(app: ASGIApp, host: str, port: int, stopping: asyncio.Event) -> None:
    """Serve an app until `stopping` is set, then finish what is under way."""
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(_serve(server))
        stop = group.create_task(stopping.wait())
        await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stop.cancel()


async def _serve(server: uvicorn.Server) -> None:
    """Run without uvicorn's own signal handling: the process stops everything in its own order."""
    if not server.config.loaded:
        server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    if server.should_exit:
        raise OSError(f"port {server.config.port} on {server.config.host} cannot be bound: is something else there?")
    await server.main_loop()
    await server.shutdown()
