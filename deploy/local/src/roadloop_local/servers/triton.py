"""Triton: the model server of a package, with its Python backend and its own environment for the models."""

import asyncio
import http.client
import os
import shutil
import subprocess
from pathlib import Path

from roadloop_local.binaries import Binaries
from roadloop_local.errors import NotReadyError, StackError
from roadloop_local.layout import Layout
from roadloop_local.program import Program

PORTS = ("triton_http", "triton_grpc", "triton_metrics")
SECRETS: tuple[str, ...] = ()

FIND_LIBDIR = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
LOAD_LIBPYTHON = "import ctypes, sys; ctypes.CDLL('libpython{}.{}.so.1.0'.format(*sys.version_info[:2]))"


def find_site_packages(binaries: Binaries) -> Path:
    """Return where the packages of Triton's environment are."""
    tritonservers = sorted(
        binaries.triton_venv.glob("lib/python3.*/site-packages/pytriton/tritonserver/bin/tritonserver")
    )
    if not tritonservers:
        raise StackError(f"Triton is not installed in {binaries.triton_venv}: run `make setup`")
    return tritonservers[0].parents[3]


def find_library_path(binaries: Binaries) -> str:
    """Return LD_LIBRARY_PATH of the server: its own libraries, then the ones of the models' Python."""
    python = str(binaries.triton_venv / "bin" / "python")
    libdir = subprocess.run((python, "-c", FIND_LIBDIR), capture_output=True, text=True, check=True)  # noqa: S603 ours
    return f"{find_site_packages(binaries) / 'nvidia_pytriton.libs'}:{libdir.stdout.strip()}"


def lay_down(layout: Layout, binaries: Binaries) -> None:
    """Put the Python backend together and make sure that it finds its Python."""
    layout.models.mkdir(exist_ok=True)
    server = find_site_packages(binaries) / "pytriton" / "tritonserver"
    version = find_site_packages(binaries).parent.name.removeprefix("python")
    backend = layout.data / "triton" / "backends" / "python"
    shutil.rmtree(backend, ignore_errors=True)
    shutil.copytree(server / "backends" / "python", backend)
    shutil.copytree(server / "python_backend_stubs" / version, backend, dirs_exist_ok=True)
    check_libpython(binaries, version)


def check_libpython(binaries: Binaries, version: str) -> None:
    """Raise `StackError` where the shared library of the models' Python is missing."""
    command = (str(binaries.triton_venv / "bin" / "python"), "-c", LOAD_LIBPYTHON)
    environment = os.environ | {"LD_LIBRARY_PATH": find_library_path(binaries)}
    if subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0:  # noqa: S603 ours
        raise StackError(
            f"Triton needs libpython{version}.so.1.0, which this Python lacks: install your system's "
            f"libpython{version} package, or a Python built with --enable-shared, and run `make setup`"
        )


def describe_program(layout: Layout, binaries: Binaries) -> Program:
    """Return the server as a program; it loads what it is told to and nothing by itself."""
    server = find_site_packages(binaries) / "pytriton" / "tritonserver"
    parts = [
        option
        for part in ("http", "grpc", "metrics")
        for option in (f"--{part}-address=127.0.0.1", f"--{part}-port={layout.ports[f'triton_{part}']}")
    ]
    command = (
        *(str(server / "bin" / "tritonserver"), f"--model-repository={layout.models}", *parts),
        *(f"--backend-directory={layout.data / 'triton' / 'backends'}", f"--cache-directory={server / 'caches'}"),
        *("--model-control-mode=explicit", "--strict-readiness=false", "--exit-timeout-secs=10"),
        *("--disable-auto-complete-config", "--log-format=ISO8601"),
        f"--backend-config=python,shm-region-prefix-name={layout.shm_prefix}",
    )
    path = f"{binaries.triton_venv / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    environment = {"PATH": path, "LD_LIBRARY_PATH": find_library_path(binaries)}
    return Program("triton", command, environment, death_signal="KILL")


async def check(layout: Layout) -> None:
    """Ask whether the server lives; raise `NotReadyError` until it does."""
    await asyncio.to_thread(get, layout.ports["triton_http"], "/v2/health/live")


def get(port: int, path: str) -> bytes:
    """Return what a path of the loopback answers; raise `NotReadyError` unless that is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"127.0.0.1:{port}{path}: {error}") from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise NotReadyError(f"127.0.0.1:{port}{path}: status {answer.status}")
    return body


async def prepare(layout: Layout) -> None:
    """Do nothing: models belong to the services."""
