"""The offsets that a service keeps in Postgres, as an operator reads and moves them."""

from collections.abc import Iterable, Mapping

from roadloop_runtime.offsets.plan_reset import Reset
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.protocols import Settled
from roadloop_runtime.storage.postgres import Connection

READ = "select topic, partition, next_offset, topic_id from consumer_offsets where consumer_group = $1"
GROUPS = "select distinct consumer_group from consumer_offsets order by 1"
# A new epoch: whoever owns the partition now is fenced, and takes it over again from here.
WRITE = """
insert into consumer_offsets as kept (consumer_group, topic, partition, epoch, next_offset, topic_id)
values ($1, $2, $3, 1, $4, $5)
on conflict (consumer_group, topic, partition)
do update set epoch = kept.epoch + 1, next_offset = $4, topic_id = $5, settled_at = now()
"""


async def list_postgres_groups(connection: Connection) -> list[str]:
    """Return the groups that keep offsets in a service's schema."""
    return [row["consumer_group"] for row in await connection.fetch(GROUPS)]


async def read_postgres_offsets(connection: Connection, group: str) -> Mapping[Partition, Settled]:
    """Return what a group keeps in a service's schema."""
    return {
        Partition(row["topic"], row["partition"]): Settled(row["next_offset"], row["topic_id"] or "")
        for row in await connection.fetch(READ, group)
    }


async def write_postgres_offsets(connection: Connection, group: str, resets: Iterable[Reset]) -> None:
    """Set a group's offsets, all or none, and fence their owners."""
    rows = [(group, *reset.partition, reset.new.next_offset, reset.new.topic_id) for reset in resets]
    async with connection.transaction():
        await connection.executemany(WRITE, rows)
