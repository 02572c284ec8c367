"""Fixtures that more than one folder of tests needs."""

import os
from collections.abc import Iterator

import pytest

from roadloop_local import stack as local
from roadloop_local.addresses import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The four servers, fresh for this run; `ROADLOOP_TEST_STACK` names a running stack to use instead."""
    running = os.environ.get("ROADLOOP_TEST_STACK")
    if running:
        yield local.open_stack(running)
        return
    data = tmp_path_factory.mktemp("stack")
    try:
        yield local.up(data, local.SERVERS_ONLY)
    finally:
        local.down(data, purge=True)
