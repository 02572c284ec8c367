"""The compose file is one: the same servers for machines with Docker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
COMPOSE = shutil.which("docker-compose", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(COMPOSE is None, reason="no docker-compose beside this Python")
def test_compose_reads_the_file() -> None:
    secrets = {"ROADLOOP_POSTGRES_PASSWORD": "x", "ROADLOOP_S3_IDENTITIES": "/dev/null"}
    program = [str(COMPOSE), "-f", str(FILE), "config", "-q"]
    done = subprocess.run(program, env=os.environ | secrets, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
