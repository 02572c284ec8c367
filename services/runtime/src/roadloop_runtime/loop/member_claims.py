"""Of two live processes with one member id the older must end: here each says when it started.

The broker tells static members with one id apart only by letting them steal the group from each other for ever, and
shows the first one's client id whoever is in. So every process writes its start to a compacted topic and follows it.
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
        """Write the claim; older processes of this member id end when they see it."""
        await self.broker.write(Event(self.topic, self._key, str(self.me.started_at_ms).encode(), (), 0))

    async def watch(self) -> None:
        """Follow the claims until cancelled; raises Superseded when a younger process has mine."""
        await self.broker.follow(self.topic, self._look)

    async def is_superseded(self) -> bool:
        """Read all claims anew and say whether a younger process has mine."""
        return any(map(self._is_younger, await self.broker.read(Partition(self.topic, 0))))

    @property
    def _key(self) -> bytes:
        return f"{self.group}/{self.me.member}".encode()

    async def _look(self, record: Record) -> None:
        if self._is_younger(record):
            raise Superseded(
                f"a younger process has my member id {self.me.member} in {self.group}: I end and stay ended"
            )

    def _is_younger(self, record: Record) -> bool:
        return record.key == self._key and int(record.value or b"0") > self.me.started_at_ms
