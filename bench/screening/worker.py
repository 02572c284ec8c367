"""Screening workers as processes of their own, with a stack's settings."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from roadloop_local.addresses import Stack
from roadloop_local.binaries import find_binaries
from roadloop_local.errors import NotReadyError
from roadloop_local.ports import choose_ports
from roadloop_local.servers.triton import get
from roadloop_local.services import build_environment

READY_WITHIN_S = 60.0


@asynccontextmanager
async def run_worker(stack: Stack, member: int = 0, settings: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """Run a worker; give its process id once it is ready. It is stopped in order, and must end well."""
    name = f"screen-{member}"
    port = choose_ports([name], {})[name]
    of_member = {"ROADLOOP_MEMBER": name, "ROADLOOP_HEALTH_PORT": str(port)}
    variables = (
        os.environ | build_environment("screen", stack.layout, find_binaries()) | of_member | dict(settings or {})
    )
    with (stack.data / f"{name}.log").open("ab") as log:
        command = [str(find_binaries().python), "-m", "screen"]
        process = await asyncio.to_thread(subprocess.Popen, command, env=variables, stdout=log, stderr=log)
    try:
        await _wait_until_ready(port, process)
        yield process.pid
    finally:
        process.terminate()
        code = await asyncio.to_thread(process.wait, 30)
    if code != 0:
        raise RuntimeError(f"{name} ended with {code}: see {stack.data / f'{name}.log'}")


async def _wait_until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        while process.poll() is None:
            try:
                await asyncio.to_thread(get, port, "/readyz")
            except NotReadyError:
                await asyncio.sleep(0.1)
            else:
                return
    raise RuntimeError(f"the worker ended with {process.returncode} before it was ready")
