"""The simulated group coordinator: eager rebalances, static members, session timeouts."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from random import Random

from roadloop_runtime.records import Partition
from tests.simulation.servers.clock import OUTSIDE

REBALANCE_S = 3.0
JOIN_WINDOW_S = 0.05


class UnknownMember(Exception):
    """The coordinator does not know this member id (any more): rejoin."""


class Rebalancing(Exception):
    """Give up what you have and join again."""


@dataclass(frozen=True)
class Assignment:
    """What a member got. `stale` are the committed offsets as the client read them before the callback."""

    member_id: int
    generation: int
    partitions: frozenset[Partition]
    stale: Mapping[Partition, int]


@dataclass
class Seat:
    """One static member, by its group instance id."""

    member_id: int
    topics: Collection[str]
    expiry: asyncio.TimerHandle | None = None
    joined: "asyncio.Future[Assignment] | None" = None
    partitions: frozenset[Partition] = frozenset()


@dataclass
class Group:
    """The coordinator's state of one group."""

    dice: Random
    session_s: float
    partitions: Mapping[str, int]
    committed: dict[Partition, int] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    rebalancing: bool = False
    generation: int = 0
    _ids: int = 0
    _closing: asyncio.TimerHandle | None = None

    def join(self, instance: str, member_id: int, topics: Collection[str]) -> "asyncio.Future[Assignment]":
        """Join; the answer comes when all members have, or when those who have not are out."""
        answer: asyncio.Future[Assignment] = asyncio.get_running_loop().create_future()
        seat = self.seats.get(instance)
        if seat is not None and seat.member_id != member_id and not self.rebalancing:
            # a static member that is back keeps its partitions: nobody else notices; its former process is out
            seat.member_id = self._new_id()
            self._keep_alive(instance)
            answer.set_result(self._assignment(seat))
            return answer
        if seat is not None and seat.member_id != member_id:
            self._remove(instance)
            if seat.joined is not None and not seat.joined.done():
                seat.joined.set_exception(UnknownMember())
        if seat is None or seat.member_id != member_id:
            seat = self.seats[instance] = Seat(self._new_id(), topics)
        self._keep_alive(instance)
        seat.joined = answer
        self.rebalance()
        self._close_when_all_joined()
        return answer

    def heartbeat(self, member_id: int, generation: int) -> None:
        """Stay a member. Raises UnknownMember or Rebalancing, this one also where the generation is over."""
        self.refuse_strangers(member_id)
        instance = next(name for name, seat in self.seats.items() if seat.member_id == member_id)
        self._keep_alive(instance)
        if generation != self.generation or (self.rebalancing and self.seats[instance].joined is None):
            raise Rebalancing

    def refuse_strangers(self, member_id: int) -> None:
        if all(seat.member_id != member_id for seat in self.seats.values()):
            raise UnknownMember

    def rebalance(self) -> None:
        """Ask all members to join anew."""
        if not self.rebalancing and self.seats:
            self.rebalancing = True
            self._close_after(REBALANCE_S)

    def _close_after(self, seconds: float) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._closing = asyncio.get_running_loop().call_later(seconds, self._close, context=OUTSIDE)

    def _close_when_all_joined(self) -> None:
        if all(seat.joined is not None for seat in self.seats.values()):
            self._close_after(JOIN_WINDOW_S)

    def _close(self) -> None:
        """End the rebalance: who has not joined is out; the rest share the partitions."""
        self.rebalancing = False
        self.generation += 1
        for name in [name for name, seat in self.seats.items() if seat.joined is None]:
            self._remove(name)
        self._share()
        for seat in self.seats.values():
            joined, seat.joined = seat.joined, None
            if joined is not None and not joined.done():
                joined.set_result(self._assignment(seat))

    def _share(self) -> None:
        """Deal the partitions out: often as before, now and then all anew."""
        names = sorted(self.seats)
        if not names:
            return
        topics = sorted({topic for seat in self.seats.values() for topic in seat.topics})
        everything = [Partition(topic, n) for topic in topics for n in range(self.partitions[topic])]
        dealt: dict[str, set[Partition]] = {name: set() for name in names}
        sticky = self.dice.random() < 0.6
        self.dice.shuffle(names)
        share = -(-len(everything) // len(names))
        for partition in everything:
            before = [name for name in names if partition in self.seats[name].partitions and len(dealt[name]) < share]
            least = min(names, key=lambda name: len(dealt[name]))
            dealt[before[0] if sticky and before else least].add(partition)
        for name in names:
            self.seats[name].partitions = frozenset(dealt[name])

    def _assignment(self, seat: Seat) -> Assignment:
        stale = {partition: self.committed[partition] for partition in seat.partitions if partition in self.committed}
        return Assignment(seat.member_id, self.generation, seat.partitions, stale)

    def _keep_alive(self, instance: str) -> None:
        seat = self.seats[instance]
        if seat.expiry is not None:
            seat.expiry.cancel()
        seat.expiry = asyncio.get_running_loop().call_later(self.session_s, self._expire, instance, context=OUTSIDE)

    def _expire(self, instance: str) -> None:
        if instance in self.seats:
            self._remove(instance)
            self.rebalance()
            self._close_when_all_joined()

    def _remove(self, instance: str) -> None:
        seat = self.seats.pop(instance)
        if seat.expiry is not None:
            seat.expiry.cancel()

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids
