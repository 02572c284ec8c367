"""Virtual time, and processes that can be frozen or killed at any callback, all on one event loop."""

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import Any

import async_solipsism

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
Step = tuple[Callable[..., object], tuple[Any, ...], contextvars.Context]


class State(Enum):
    """What the simulated operating system lets a process do."""

    RUNNING = auto()
    FROZEN = auto()
    DEAD = auto()


class Process:
    """Runs only what belongs to it: frozen its callbacks wait, dead they are dropped, as after `kill -9`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = State.RUNNING
        self.steps = 0
        self.dies_at_step: int | None = None
        self.on_death: Callable[[], None] = lambda: None
        self.tasks: list[SimulatedTask] = []
        self._parked: list[Step] = []

    def step(self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context) -> None:
        """Run a callback of this process, or not."""
        if self.state is State.RUNNING:
            self.steps += 1
            if self.steps == self.dies_at_step:
                self.kill()
            else:
                callback(*args)
        elif self.state is State.FROZEN:
            self._parked.append((callback, args, context))

    def freeze(self) -> None:
        if self.state is State.RUNNING:
            self.state = State.FROZEN

    def wake(self) -> None:
        """Go on where it was; what came meanwhile comes all at once, in the order in which it came."""
        if self.state is State.FROZEN:
            self.state = State.RUNNING
            parked, self._parked = self._parked, []
            for callback, args, context in parked:
                asyncio.get_running_loop().call_soon(callback, *args, context=context)

    def kill(self) -> None:
        """End without a word: no `finally` runs, nothing is closed."""
        if self.state is not State.DEAD:
            self.state = State.DEAD
            self._parked.clear()
            self.on_death()

    def places(self) -> list[str]:
        """Return where its tasks wait: the innermost line of each in the code under test."""
        return [place for task in self.tasks if not task.done() and (place := _place(task.get_coro()))]

    def bury(self) -> None:
        """Close what is left of its coroutines, once nothing they do matters any more."""
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(BaseException):
                    task.get_coro().close()
        self.tasks.clear()


def _place(coroutine: Any) -> str:
    found = ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and "roadloop_runtime" in frame.f_code.co_filename:
            found = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None)
    return found


class SimulatedTask(asyncio.Task[Any]):
    """A task with a number for its hash: sets of tasks have the same order in every run of a seed."""

    created = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        SimulatedTask.created += 1
        self._number = SimulatedTask.created
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(async_solipsism.EventLoop):  # type: ignore[misc]
    """Time stands still while anything can run. Every callback belongs to the process whose code scheduled it."""

    def __init__(self) -> None:
        super().__init__()
        SimulatedTask.created = 0
        self._selector.select = partial(_let_time_pass, self._selector.clock)
        self.set_task_factory(_new_task)
        self.set_exception_handler(lambda _loop, _context: None)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        context = contextvars.copy_context() if context is None else context
        process = context.get(PROCESS)
        if process is None:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(process.step, callback, args, context, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        context = contextvars.copy_context() if context is None else context
        process = context.get(PROCESS)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        return super().call_at(when, process.step, callback, args, context, context=context)


def _let_time_pass(clock: Any, wait_s: float | None = None) -> tuple[()]:
    """Stand in for a selector that looks through its sockets each turn: here are none."""
    if wait_s is None:
        raise async_solipsism.SleepForeverError("nothing is left that could ever run")
    if wait_s > 0:
        clock.advance(wait_s)
    return ()


def _new_task(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any) -> SimulatedTask:
    task = SimulatedTask(coroutine, loop=loop, **options)
    context = options.get("context")
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None:
        process.tasks.append(task)
    return task


def run_virtual(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in virtual time. What dying coroutines complain of at their burial is kept quiet."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    loop = SimulatedLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        sys.unraisablehook = hook


def spawn(process: Process, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a coroutine as code of a process."""
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    return asyncio.get_running_loop().create_task(coroutine, context=context)


OUTSIDE = contextvars.Context()
"""The context of the network, the broker and the database: no process's."""
