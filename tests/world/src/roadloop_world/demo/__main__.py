"""The main job, for somebody who wants to see it: `python -m roadloop_world.demo`.

A fleet drives, uploads, is screened and labelled; a worse model is offered and refused; a model is trained, passes its
gate, is tried on live frames and screens the rest; the books balance. Real servers, real services, a rendered world.
Nothing is decided by how long it takes: the demo waits as long as anything moves. `story` tells it.
"""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import httpx
import typer

from roadloop_local import stack as local
from roadloop_local.addresses import Stack
from roadloop_local.errors import StackError
from roadloop_world.actors.tenant_setup import CommandFailed
from roadloop_world.demo.round import TENANT
from roadloop_world.demo.show import Show
from roadloop_world.demo.story import DRIVE_FRAMES, WARM_UP_DRIVES, run
from roadloop_world.demo.wait_while_moving import StoodStill
from roadloop_world.rendering.datasets import WINTER_MIX, DrivePlan, plan_drives

# A salt of each stack's own would draw another audit, train another model, and now and then none that passes the gate.
SAME_AUDIT = {"ROADLOOP_AUDIT_SALT": "the same in every demo"}


class CannotBegin(Exception):
    """The demo cannot do what was asked for; the text says why and what to do."""


EXPECTED = (StackError, StoodStill, CannotBegin, CommandFailed, KeyboardInterrupt)


def bring_up(data: Path, show: Show, *, again: bool) -> Stack:
    """Bring a clean stack up, or the one that an earlier demo left."""
    if again and not (data / "stack.json").exists():
        raise CannotBegin(f"there is no demo to continue in {data}: leave --continue out")
    if (data / "stack.json").exists() and not again:
        show.say(f"starting clean: the stack in {data} is stopped and deleted")
        local.down(data, purge=True)
    return local.up(data, environment=SAME_AUDIT, report=show.say)


def main(
    data: Annotated[Path, typer.Option(envvar="ROADLOOP_DATA", help="the stack's folder")] = Path(".roadloop"),
    frames: Annotated[int, typer.Option(help="how many pictures the rendered fleet takes", min=2000)] = 4000,
    out: Annotated[Path, typer.Option(help="where the page and the report go")] = Path("build/demo"),
    again: Annotated[bool, typer.Option("--continue", help="go on with what an earlier demo left")] = False,
) -> None:
    """Show one whole round of the loop. Without --continue it starts clean: an earlier demo's stack is deleted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it gets the page, too
    show = Show(out, TENANT)
    show.write(show.make_page(now="servers and services start")[0])
    show.say(f"the page is there from now on: {out / 'index.html'}")
    try:
        stack = bring_up(data, show, again=again)
        asyncio.run(run(stack, show, plan(stack, frames, again=again), again=again))
    except BaseException as error:
        show.ended_early = reason_of(error)
        if not is_expected(error):
            raise
    finally:
        broken = show.finish()
        show.say("what is up stays up for a look: `roadloop status`, `roadloop lag`; `roadloop down` ends it")
    raise typer.Exit(1 if broken else 0)


def plan(stack: Stack, frames: int, *, again: bool) -> list[DrivePlan]:
    """Plan the drives: the same ones on every clean start, new ones each time a demo is continued."""
    drives = frames // DRIVE_FRAMES
    if not again:
        return plan_drives(100, WARM_UP_DRIVES, WINTER_MIX) + plan_drives(200, drives - WARM_UP_DRIVES, WINTER_MIX)
    books = httpx.get(f"http://{stack.address('ingest')}/v1/books", timeout=300).json()
    return plan_drives(1_000 + books["announced"], drives, WINTER_MIX)


def is_expected(error: BaseException) -> bool:
    """Say whether an error says by itself what to do, so that no traceback is wanted."""
    return all(isinstance(leaf, EXPECTED) for leaf in flatten_error(error))


def reason_of(error: BaseException) -> str:
    """Say why the demo did not run to its end."""
    first = flatten_error(error)[0]
    return "it was interrupted" if isinstance(first, KeyboardInterrupt) else str(first) or type(first).__name__


def flatten_error(error: BaseException) -> list[BaseException]:
    """Return the errors inside of a group, or an error alone."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in flatten_error(inner)]


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
