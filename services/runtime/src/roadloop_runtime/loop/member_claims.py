"""Of two live processes with one member id one must end: the newest claim in the log of claims is the one that counts.

The broker tells static members with one id apart only by letting them steal the group from each other for ever, and
shows the first one's client id whoever is in. So every process writes a claim to a compacted topic when it starts, and
follows it. Only what comes after mine in the log counts: a clock that was wrong once keeps nobody out. Of that only who
started later: what a process wrote that died meanwhile may come late.
"""

from dataclasses import dataclass

from roadloop_runtime.broker import Broker
from roadloop_runtime.loop.identity import Identity, Superseded
from roadloop_runtime.records import Event, Partition, Record
from roadloop_schemas.topics import RUNTIME_MEMBERS

TOPIC = RUNTIME_MEMBERS


@dataclass(frozen=True)
class Claim:
    """This process's claim to be the one member of its id in a group."""

    broker: Broker
    group: str
    me: Identity
    topic: str = TOPIC

    async def make(self) -> None:
        """Write the claim; the processes with this member id that claimed before end when they see it."""
        await self.broker.write(Event(self.topic, self._key, str(self.me.started_at_ms).encode(), (), 0))

    async def watch(self) -> None:
        """Follow the claims, after mine was made, until cancelled; raises Superseded when a later one has my id."""
        await self.broker.follow(self.topic, self._look)

    async def is_superseded(self) -> bool:
        """Read all claims anew and say whether the newest one of my id is not mine."""
        claims = [record for record in await self.broker.read(Partition(self.topic, 0)) if record.key == self._key]
        return bool(claims) and self._is_anothers(claims[-1])

    @property
    def _key(self) -> bytes:
        return f"{self.group}/{self.me.member}".encode()

    async def _look(self, record: Record) -> None:
        if record.key == self._key and self._is_anothers(record):
            raise Superseded(
                f"another process has claimed my member id {self.me.member} in {self.group}: I end and stay ended"
            )

    def _is_anothers(self, record: Record) -> bool:
        return int(record.value or b"0") > self.me.started_at_ms
