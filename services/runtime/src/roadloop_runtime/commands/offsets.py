"""The commands `roadloop offsets`: where groups have read to, whether that fits their logs, and how to move it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import asyncpg
import typer

from roadloop_runtime.broker import Log, OffsetRefused
from roadloop_runtime.cli.database import report_database_errors
from roadloop_runtime.cli.kafka_errors import report_kafka_errors
from roadloop_runtime.cli.options import AsJson, Bootstrap
from roadloop_runtime.cli.terminal import Refused, show_rows
from roadloop_runtime.kafka.group_offsets import (
    GroupHasMembers,
    OnlyCopies,
    read_group_offsets,
    read_logs,
    write_group_offsets,
)
from roadloop_runtime.offsets.plan_reset import NoSuchOffset, Reset, Target, plan_gap, plan_reset
from roadloop_runtime.offsets.postgres_offsets import read_postgres_offsets, write_postgres_offsets
from roadloop_runtime.records import Partition
from roadloop_runtime.settlement.check_offset import check_offset
from roadloop_runtime.settlement.protocols import Settled
from roadloop_runtime.storage.postgres import Connection
from roadloop_schemas.topics import read_topic_files

Group = Annotated[str, typer.Argument(help="The consumer group, as `roadloop lag` names it.")]
Topic = Annotated[str, typer.Argument(help="The topic that it reads.")]
Number = Annotated[int | None, typer.Option("--partition", min=0, help="This partition alone.")]
OptionalPostgres = Annotated[
    str,
    typer.Option("--postgres", envvar="ROADLOOP_POSTGRES_DSN", help="DSN of the service's role, if that keeps them."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it costs; change nothing.")]
NOTHING = Settled(None)
IN_POSTGRES = 'a group that settles to Postgres needs the settings of its service: eval "$(roadloop env ingest)"'
Plan = Callable[[Partition, Settled, Log], Reset | None]
TITLES = ("topic", "partition", "offset", "log begins", "log ends", "reads on")


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a group has settled to, and the logs of its topics."""

    in_postgres: bool
    settled: Mapping[Partition, Settled]
    logs: Mapping[Partition, Log]


def show_offsets(group: Group, kafka: Bootstrap, postgres: OptionalPostgres = "", as_json: AsJson = False) -> None:
    """Show where a group has read to, and whether it can read on from there; 1 if it cannot."""
    with report_kafka_errors(kafka):
        kept = asyncio.run(_read(group, kafka, postgres))
        if not kept.settled:
            raise Refused(f"{group} has settled nothing: `roadloop lag` lists the groups")
    rows = [_make_row(group, partition, kept) for partition in sorted(kept.settled)]
    if as_json:
        typer.echo(json.dumps([dict(zip(TITLES, row, strict=True)) for row in rows], indent=2))
    else:
        show_rows(TITLES, rows, frozenset(TITLES[1:5]))
    if any(row[-1] != "yes" for row in rows):
        raise typer.Exit(1)


def reset_offsets(
    group: Group,
    topic: Topic,
    kafka: Bootstrap,
    *,
    to: Annotated[str, typer.Option("--to", help="start, end, or an offset.")],
    partition: Number = None,
    postgres: OptionalPostgres = "",
    dry_run: DryRun = False,
) -> None:
    """Let a group read on from somewhere else; say what is read again, and what is lost."""
    target = _read_target(to)

    def plan(place: Partition, settled: Settled, log: Log) -> Reset:
        return plan_reset(place, settled, log, target)

    with report_kafka_errors(kafka):
        asyncio.run(_move(group, topic, kafka, postgres, plan=plan, only=partition, dry_run=dry_run))


def accept_gap(
    group: Group, topic: Topic, kafka: Bootstrap, postgres: OptionalPostgres = "", dry_run: DryRun = False
) -> None:
    """Let a group go on behind records that expired before it read them; say how many are lost."""
    with report_kafka_errors(kafka):
        asyncio.run(_move(group, topic, kafka, postgres, plan=plan_gap, only=None, dry_run=dry_run))


def _read_target(text: str) -> Target:
    if text == "start":
        return "start"
    if text == "end":
        return "end"
    if not text.isdecimal():
        raise typer.BadParameter(f"--to {text!r}: say start, end, or an offset")
    return int(text)


def _make_row(group: str, partition: Partition, kept: Kept) -> tuple[str, ...]:
    settled, log = kept.settled[partition], kept.logs.get(partition)
    offset = "" if settled.next_offset is None else str(settled.next_offset)
    if log is None:
        return (partition.topic, str(partition.partition), offset, "", "", "no: the topic is not there")
    try:
        check_offset(group, partition, settled, log)
        reads_on = "yes"
    except OffsetRefused as error:
        reads_on = f"no: {error}"
    return (partition.topic, str(partition.partition), offset, str(log.start), str(log.end), reads_on)


async def _read(group: str, kafka: str, postgres: str, *topics: str) -> Kept:
    """Return what a group keeps: in the database where that has it, else in Kafka."""
    settled = await _read_database(group, postgres) if postgres else {}
    in_postgres = bool(settled)
    if not settled:
        settled = await _read_kafka(group, kafka)
    if not settled and not postgres:
        typer.echo(f"{group} has no offsets in Kafka; {IN_POSTGRES}", err=True)
    logs = await read_logs(kafka, sorted({partition.topic for partition in settled} | set(topics)))
    return Kept(in_postgres, settled, logs)


async def _read_kafka(group: str, kafka: str) -> Mapping[Partition, Settled]:
    try:
        return {place: Settled(offset) for place, offset in (await read_group_offsets(kafka, group)).items()}
    except OnlyCopies:
        raise Refused(
            f"{group} keeps its offsets in Postgres, what Kafka has of them is a copy; {IN_POSTGRES}"
        ) from None


async def _read_database(group: str, postgres: str) -> Mapping[Partition, Settled]:
    async with _connect(postgres) as connection:
        return await read_postgres_offsets(connection, group)


@asynccontextmanager
async def _connect(postgres: str) -> AsyncIterator[Connection]:
    with report_database_errors():
        connection = await asyncpg.connect(postgres, timeout=10, command_timeout=30)
        try:
            yield connection
        finally:
            await connection.close(timeout=2)


async def _move(
    group: str, topic: str, kafka: str, postgres: str, *, plan: Plan, only: int | None, dry_run: bool
) -> None:
    """Say what a move of a group's offsets costs, then make it."""
    _refuse_foreign(group, topic)
    kept = await _read(group, kafka, postgres, topic)
    places = [place for place in sorted(kept.logs) if place.topic == topic and only in (None, place.partition)]
    if not places:
        raise Refused(f"{topic} has no such partition: `roadloop topics create` makes those that are missing")
    try:
        planned = [plan(place, kept.settled.get(place, NOTHING), kept.logs[place]) for place in places]
    except NoSuchOffset as error:
        raise Refused(str(error)) from error
    resets = [reset for reset in planned if reset is not None]
    for reset in resets:
        typer.echo(str(reset))
    if not resets:
        typer.echo("there is no gap: every offset is within its log")
    elif not dry_run:
        await _write(group, kafka, postgres if kept.in_postgres else "", resets)


def _refuse_foreign(group: str, topic: str) -> None:
    """Raise Refused where a topic's file does not name a group: an offset for a misspelt one would help nobody."""
    declared = read_topic_files().get(topic)
    if declared is not None and group not in declared.groups:
        readers = ", ".join(declared.groups) or "no group of ours"
        raise Refused(f"{group} does not read {topic}: {readers} does")


async def _write(group: str, kafka: str, postgres: str, resets: Sequence[Reset]) -> None:
    if not postgres:
        offsets = {reset.partition: reset.new.next_offset or 0 for reset in resets}
        try:
            return await write_group_offsets(kafka, group, offsets)
        except GroupHasMembers:
            raise Refused(
                f"nothing was changed: {group} has members. Stop its workers, wait until their sessions are over "
                "(6 s), then run it again"
            ) from None
    async with _connect(postgres) as connection:
        return await write_postgres_offsets(connection, group, resets)
