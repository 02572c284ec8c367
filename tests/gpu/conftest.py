"""The model server alone: what is tested here is whether it makes use of a GPU."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from roadloop_local import stack as local
from roadloop_local.addresses import Stack


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Triton, fresh for this run, on a machine that has a GPU: these tests fail on any other."""
    if not Path("/dev/nvidiactl").exists():
        pytest.fail("these tests need a machine with an NVIDIA GPU and its driver")
    data = tmp_path_factory.mktemp("stack")
    try:
        yield local.up(data, ["triton"])
    finally:
        local.down(data, purge=True)
