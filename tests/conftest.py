"""Fixtures that more than one folder of tests needs."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import settings

from roadloop_local import stack as local
from roadloop_local.addresses import Stack

# A slow machine is no failure: what takes how long is measured in bench/.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The four servers, fresh for this run; `ROADLOOP_TEST_STACK` names a running stack to use instead.

    With ROADLOOP_TEST_SERVERS=containers they run in containers, where `docker info` reaches an engine. Pull the
    images of `deploy/compose.yaml` first: the pull would count against the first test's time.
    """
    running = os.environ.get("ROADLOOP_TEST_STACK")
    if running:
        yield local.open_stack(running)
        return
    data = tmp_path_factory.mktemp("stack")
    if os.environ.get("ROADLOOP_TEST_SERVERS") == "containers" and has_engine():
        from .containers import run_in_containers

        with run_in_containers(data) as in_containers:
            yield in_containers
        return
    try:
        yield local.up(data, local.SERVERS_ONLY)
    finally:
        local.down(data, purge=True)


def has_engine() -> bool:
    """Return whether a container engine answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(("docker", "info"), capture_output=True, timeout=20, check=False).returncode == 0
