"""The outbox: rows committed with what caused them, published later, each once and in order.

One publisher per service gives committed rows a dense number and publishes them with a position record in one
Kafka transaction. The position in Kafka is the truth of what was published: after a crash between the commit in
Kafka and the delete in Postgres, rows at or below it are deleted and not sent again.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from roadloop_runtime.broker import Broker, Writer
from roadloop_runtime.records import Event, Partition

PUBLISH_AT_MOST = 500


class LockLost(Exception):
    """The connection that held the publisher's lock is gone: another publisher may be there. End."""


class Row(NamedTuple):
    """A committed row. Numbers are dense and rise in the order of publishing."""

    number: int
    event: Event


class Rows(Protocol):
    """The table as its publisher uses it: Postgres, and a simulated one under the same contract suite.

    Whatever fails raises LockLost.
    """

    async def lock(self) -> None:
        """Stand by until this is the one publisher."""

    async def number(self, position: int, limit: int) -> Sequence[Row]:
        """Number fresh rows densely, from `position` or the highest number on; return the first ones behind it."""

    async def forget(self, position: int) -> None:
        """Delete the rows at or below a position."""

    async def wait(self) -> None:
        """Wait until somebody says that rows were committed, or a little while."""


async def publish_for_ever(rows: Rows, broker: Broker, service: str) -> None:
    """Publish what the outbox holds, until cancelled. Raises LockLost, Fenced or Aborted: the process ends.

    Lock, fence, read the position: in this order, so that nobody else can publish behind the position read.
    """
    await rows.lock()
    writer = await broker.fence(f"{service}.outbox")
    try:
        position = await read_position(broker, service)
        await rows.forget(position)
        while True:
            position = await _publish_all(rows, writer, service, position)
            await rows.wait()
    finally:
        await writer.close()


async def _publish_all(rows: Rows, writer: Writer, service: str, position: int) -> int:
    """Publish until nothing is left; return the new position."""
    while numbered_rows := await rows.number(position, PUBLISH_AT_MOST):
        position = numbered_rows[-1].number
        mark = Event(name_position_topic(service), service.encode(), str(position).encode(), (), 0)
        await writer.transact([*(row.event for row in numbered_rows), mark], {}, "")
        await rows.forget(position)
    return position


def name_position_topic(service: str) -> str:
    return f"{service}.outbox.v1"


async def read_position(broker: Broker, service: str) -> int:
    """Return the number of the row published last; 0 where none was."""
    records = await broker.read(Partition(name_position_topic(service), 0))
    return int(records[-1].value or 0) if records else 0
