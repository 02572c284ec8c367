"""The commands `roadloop deadletters list`, `show` and `replay`."""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from roadloop_runtime.cli.kafka_errors import report_kafka_errors
from roadloop_runtime.cli.options import AsJson, Bootstrap
from roadloop_runtime.cli.terminal import Refused, escape_controls, show_rows
from roadloop_runtime.dead_letters.dead_letters import (
    Choice,
    Count,
    DeadLetterRecord,
    Fate,
    counts_as_json,
    to_original_event,
)
from roadloop_runtime.dead_letters.describe import SHOWN_BYTES, describe
from roadloop_runtime.dead_letters.read import NoSuchDeadLetter, count_dead_letters, find_dead_letter
from roadloop_runtime.dead_letters.replay import rehearse, replay
from roadloop_schemas.cloudevents import rfc3339

TITLES = ("topic", "reason", "letters", "replayed", "first", "last")
NUMBERS = frozenset({"letters", "replayed"})
Topic = Annotated[str, typer.Argument(help="A dead-letter topic: dlq.<group>.<topic>.")]
CHOOSE = "say which letters: --reason, --rule, --id, --partition with or without --offset, or --all"


def list_dead_letters(kafka: Bootstrap, json_: AsJson = False) -> None:
    """Count the dead letters of every topic by reason."""
    with report_kafka_errors(kafka):
        counts = asyncio.run(count_dead_letters(kafka))
    if json_:
        typer.echo(json.dumps(counts_as_json(counts)))
    else:
        show_rows(TITLES, _to_rows(counts), NUMBERS)


def _to_rows(counts: Sequence[Count]) -> list[tuple[str, ...]]:
    return [
        (
            count.topic,
            count.reason,
            str(count.letters),
            str(count.replayed),
            _format_time(count.first_at_ms),
            _format_time(count.last_at_ms),
        )
        for count in counts
    ]


def _format_time(at_ms: int) -> str:
    return rfc3339(datetime.fromtimestamp(at_ms / 1000, UTC).replace(microsecond=0))


def show_dead_letter(
    kafka: Bootstrap,
    topic: Topic,
    partition: Annotated[int, typer.Argument()],
    offset: Annotated[int, typer.Argument()],
    limit_bytes: Annotated[int, typer.Option("--bytes", min=1, help="Show at most so much of a value.")] = SHOWN_BYTES,
) -> None:
    """Show one dead letter: why the record died, what can be done, and what it was."""
    with report_kafka_errors(kafka):
        typer.echo(describe(_find(kafka, topic, partition, offset), limit_bytes))


def _find(kafka: str, topic: str, partition: int, offset: int) -> DeadLetterRecord:
    try:
        return asyncio.run(find_dead_letter(kafka, topic, partition, offset))
    except NoSuchDeadLetter as error:
        raise Refused(str(error)) from error


def replay_dead_letters(
    kafka: Bootstrap,
    topic: Topic,
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="Those with this reason.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Those that broke this rule, word for word.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="Those whose record has this event id.")] = None,
    partition: Annotated[int | None, typer.Option("--partition", help="Those of this partition.")] = None,
    offsets: Annotated[
        str | None, typer.Option("--offset", help="With --partition: the letter there, or FIRST-LAST.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All letters of the topic.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Those replayed before, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed; write nothing.")] = False,
) -> None:
    """Write dead letters back to the partition they came from, each once, in order; all that is said must hold."""
    with report_kafka_errors(kafka):
        first, last = read_offsets(offsets)
        choice = Choice(reason, rule, event_id, partition, first, last, again)
        refuse_unclear(choice, offsets, every)
        try:
            fates = asyncio.run(_replay(kafka, topic, choice, dry_run))
        except NoSuchDeadLetter as error:
            raise Refused(str(error)) from error
        if not every and not sum(fates[fate] for fate in fates if fate is not Fate.NOT_CHOSEN):
            raise Refused(f"no letter of {topic} is like that: `roadloop deadletters list` shows those there are")
    typer.echo(describe_fates(fates, dry_run))
    if fates.get(Fate.NO_ORIGIN) or fates.get(Fate.ORIGIN_MISSING):
        raise typer.Exit(1)


def read_offsets(text: str | None) -> tuple[int, float]:
    """Read `7` or `7-9` as the first and the last offset; raises Refused."""
    if text is None:
        return 0, math.inf
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise Refused(f"--offset {text!r}: say one offset (7), or the first and the last one (7-9)")
    return int(first), int(last or first)


def refuse_unclear(choice: Choice, offsets: str | None, every: bool) -> None:
    """Raise Refused unless it was said which letters: some of them, or all."""
    is_selective = any(wish is not None for wish in (choice.reason, choice.rule, choice.event_id, choice.partition))
    if is_selective == every or (offsets is not None and choice.partition is None):
        raise Refused(CHOOSE)


async def _replay(kafka: str, topic: str, choice: Choice, dry_run: bool) -> Mapping[Fate, int]:
    if dry_run:
        return await rehearse(kafka, topic, choice, _print_each)
    return await replay(kafka, topic, choice)


async def _print_each(dead_letters: Sequence[DeadLetterRecord]) -> None:
    for dead_letter in dead_letters:
        if dead_letter.origin is not None:
            event = to_original_event(dead_letter, dead_letter.origin)
            typer.echo(
                escape_controls(f"{dead_letter.place} -> {event.topic}/{event.partition} ({dead_letter.reason})")
            )


def describe_fates(fates: Mapping[Fate, int], dry_run: bool) -> str:
    """Say in one line what became of the letters."""
    verb = "would be replayed" if dry_run else "replayed"
    parts = [f"{fates.get(Fate.REPLAYED, 0)} {verb}"]
    if replayed_before := fates.get(Fate.REPLAYED_BEFORE):
        parts.append(f"{replayed_before} were replayed before (--again takes them too)")
    if without_origin := fates.get(Fate.NO_ORIGIN):
        parts.append(f"{without_origin} do not say where they came from")
    if origin_missing := fates.get(Fate.ORIGIN_MISSING):
        parts.append(f"{origin_missing} came from a partition that is not there")
    return ", ".join(parts)
