"""A service of which one part fails ends, also where another part will not."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import asyncio, sys
from roadloop_runtime.service import lifecycle, logs

async def fails():
    await asyncio.sleep(0.05)
    raise {error}

async def goes():
    await asyncio.Event().wait()

async def stays():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("I stay", flush=True)

async def main(stopping):
    await lifecycle.run_side_by_side(stopping, [{loop}()], [fails()], ends_within_s=0.3)

logs.configure("test", "INFO")
sys.exit(lifecycle.run(main))
"""


@pytest.mark.parametrize(
    ("loop", "error", "said", "code"),
    [
        pytest.param("goes", 'OSError("no disk")', '"event": "ended"', 1, id="all-end"),
        pytest.param("stays", 'OSError("no disk")', '"event": "does_not_end"', 1, id="one-does-not-end"),
        pytest.param(
            "stays",
            '__import__("roadloop_runtime.loop.identity").loop.identity.Superseded("by a twin")',
            '"event": "does_not_end"',
            78,
            id="the-exit-code-stays",
        ),
    ],
)
def test_one_part_that_fails_ends_the_process(loop: str, error: str, said: str, code: int) -> None:
    program = textwrap.dedent(PROGRAM).format(loop=loop, error=error)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stdout + ended.stderr
    assert ("I stay" in ended.stdout) == (loop == "stays")
