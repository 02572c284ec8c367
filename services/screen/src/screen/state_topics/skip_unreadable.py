"""Records that a reader cannot read: left out, and told."""

import structlog
from pydantic import ValidationError

from roadloop_runtime.broker import Take
from roadloop_runtime.records import Record

log = structlog.get_logger()


def skip_unreadable(take: Take) -> Take:
    """Leave out what cannot be read, as a view does: whose record it is to judge has its dead letters."""

    async def take_readable(record: Record) -> None:
        try:
            await take(record)
        except ValidationError as error:
            log.warning("not_readable", topic=record.topic, partition=record.partition, offset=record.offset, why=error)

    return take_readable
