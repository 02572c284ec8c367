"""What a service tells the loop about one topic."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from roadloop_runtime.outcome import Outcome
from roadloop_runtime.records import Event, Record

Body = TypeVar("Body")
Observation = TypeVar("Observation")
Memory = TypeVar("Memory")
Policy = TypeVar("Policy")
Canary = Callable[[], Awaitable[bool]]


def _remember_nothing(_partition: int, _old: object, _new: object) -> Iterable[Event]:
    return ()


def _is_always_new(_memory: object) -> bool:
    return True


async def _rebuild_nothing(_partition: int) -> Any:
    return None


def _choose_nothing() -> Any:
    return None


@dataclass(frozen=True, kw_only=True)
class Handler(Generic[Body, Observation, Memory, Policy]):
    """Observe, decide and remember for one topic.

    decode: record -> body; raises Undecodable. Runs in the loop's own thread: no I/O.
    observe: all slow I/O, concurrent, no order; raises Transient. None where there is nothing to look up:
        then `decide` gets the body itself.
    decide: pure, in offset order; (memory, observation, policy) -> (memory, outcome).
    policy: the policy in force, asked right before each decision; None where there is none.
    rebuild: partition number -> memory, asked after the fence of a take-over; None where there is none.
    remember: (partition, memory settled last, memory now) -> the events that carry the change.
    canaries: dependency -> does it work at all? A Transient of it is retried for as long as it does not.
    is_new: does a memory hold nothing, as that of a partition of which nothing was ever settled?
    failed_at: dependency -> when its canary failed last, on the event loop's clock.
    """

    decode: Callable[[Record], Body]
    decide: Callable[[Memory, Observation, Policy], tuple[Memory, Outcome]]
    observe: Callable[[Body], Awaitable[Observation]] | None = None
    rebuild: Callable[[int], Awaitable[Memory]] = _rebuild_nothing
    policy: Callable[[], Policy] = _choose_nothing
    remember: Callable[[int, Memory, Memory], Iterable[Event]] = _remember_nothing
    is_new: Callable[[Memory], bool] = _is_always_new
    canaries: Mapping[str, Canary] = field(default_factory=dict)
    failed_at: dict[str, float] = field(default_factory=dict, compare=False)
