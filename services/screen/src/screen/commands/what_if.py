"""The command `roadloop what-if`: last week under another policy, from history, without a model server."""

import asyncio
import gc
import json
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from roadloop_runtime.cli.kafka_errors import report_kafka_errors
from roadloop_runtime.cli.options import AsJson, Bootstrap
from roadloop_runtime.cli.terminal import Refused, show_rows
from roadloop_runtime.kafka.admin import read_partition_counts
from roadloop_runtime.kafka.reader import for_each_record
from roadloop_runtime.records import Record, tenant_of
from roadloop_schemas.fields import is_tenant
from roadloop_schemas.labels import LabelCompleted, LabelSource
from roadloop_schemas.policies import ScreenPolicy
from roadloop_schemas.topics import LABELS_COMPLETED
from screen.history.rows import DECIDED_FROM, PICTURED
from screen.history.table import NAMESPACE, History, Place
from screen.what_if.rejudge import Answer, Change, Labels, Policies, UnknownPolicy, change_policy, rejudge
from screen.what_if.report import TITLES, answer_as_json, make_remarks, rows_of

LABELS = LABELS_COMPLETED
COUNTED = ("verdict", "received_at", "threshold", "claims")
UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def command(
    *,
    kafka: Bootstrap,
    postgres: Annotated[str, typer.Option("--postgres", envvar="ROADLOOP_POSTGRES_DSN", help="Of the catalogue.")],
    s3: Annotated[str, typer.Option("--s3", envvar="ROADLOOP_S3_ENDPOINT", help="http://host:port")],
    access_key: Annotated[str, typer.Option(envvar="ROADLOOP_S3_ACCESS_KEY", show_default=False)],
    secret_key: Annotated[str, typer.Option(envvar="ROADLOOP_S3_SECRET_KEY", show_default=False)],
    warehouse: Annotated[str, typer.Option(envvar="ROADLOOP_WAREHOUSE", help="s3://BUCKET/PREFIX of history.")],
    tenant: Annotated[str, typer.Option()],
    since: Annotated[str, typer.Option(help="Count what was received since: 7d, 12h, 30m.")] = "7d",
    keep: Annotated[float | None, typer.Option(min=0, max=1, help="Another keep budget.")] = None,
    quota: Annotated[list[str] | None, typer.Option(help="Of a condition or slice: night=2x, rain/front=0.2.")] = None,
    hard_errors: Annotated[int, typer.Option(min=1, help="From so many errors on an audited frame is hard.")] = 1,
    exact: Annotated[bool, typer.Option("--exact", help="Compare pictures anew, with those it would keep.")] = False,
    processes: Annotated[int, typer.Option(min=1)] = 2,
    as_json: AsJson = False,
) -> None:
    """Say what would have been kept under another policy. Without a change: whether today's verdicts come out again."""
    if not is_tenant(tenant):
        raise typer.BadParameter(f"tenant {tenant!r}: use lower-case letters, digits and hyphens")
    place = Place(postgres, warehouse, s3, access_key, secret_key)
    change = partial(change_policy, keep=keep, quotas=read_quotas(quota or []))
    with report_kafka_errors(kafka):
        try:
            change(ScreenPolicy(version=0, threshold=0))  # says what is wrong with a quota before anything is read
            question = Question(
                place=place,
                tenant=tenant,
                since=datetime.now(UTC) - read_since(since),
                change=change,
                hard_from=hard_errors,
                exact=exact,
            )
            answer = ask(kafka, question, processes)
        except (ValueError, UnknownPolicy) as error:
            raise Refused(str(error)) from error
        if not answer.judged:
            raise Refused(
                f"history has no verdict of tenant {tenant} since then (`python -m screen.history` writes it)"
            )
    if as_json:
        typer.echo(json.dumps(answer_as_json(answer), indent=1))
    else:
        show(answer)
    if keep is None and not quota and answer.differing:
        raise typer.Exit(1)


def show(answer: Answer) -> None:
    """Print the answer: a table for a person, lines with tabs for a program."""
    show_rows(TITLES, rows_of(answer), frozenset(TITLES[1:]))
    typer.echo(make_remarks(answer))


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of history; it travels to other processes."""

    place: Place
    tenant: str
    since: datetime
    change: Change
    hard_from: int = 1
    exact: bool = False
    namespace: str = NAMESPACE


def read_quotas(texts: Sequence[str]) -> dict[str, str]:
    """Read night=2x; raises BadParameter where that is none."""
    quotas = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise typer.BadParameter(f"--quota {text}: give it as night=2x or rain/front=0.2")
        quotas[name] = value
    return quotas


def read_since(text: str) -> timedelta:
    """Read 7d, 12h or 30m; raises ValueError where it is none."""
    match = re.fullmatch(r"(\d{1,6})([dhm])", text)
    if match is None:
        raise ValueError(f"--since {text}: give it as 7d, 12h or 30m")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def ask(kafka: str, question: Question, processes: int) -> Answer:
    """Judge all partitions of a tenant's history anew, so many at a time."""
    answer_in_all = Answer(exact=question.exact)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, _open_pool(processes) as pool:
        labels = asyncio.run(read_labels(kafka, question.tenant))
        history = History(question.place, question.namespace)
        partitions, policies = history.list_partitions(), history.read_policies()
        bar = progress.add_task("", total=len(partitions))
        for answer in pool.map(partial(ask_partition, question, policies, labels), partitions):
            answer_in_all.add(answer)
            progress.advance(bar)
    return answer_in_all


def _open_pool(processes: int) -> ProcessPoolExecutor:
    """Return processes that have imported all this once between them, and begin with that at once.

    Nothing here is cyclic: to collect garbage would only walk through the rows, for half of the time they take.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=gc.disable)
    pool.submit(gc.isenabled)
    return pool


def ask_partition(question: Question, policies: Policies, labels: Labels, partition: int) -> Answer:
    """Judge one partition's history anew."""
    columns = (*DECIDED_FROM, *COUNTED, *(PICTURED if question.exact else ()))
    rows = History(question.place, question.namespace).read_rows(partition, columns)
    return rejudge(
        rows,
        policies,
        question.change,
        tenant=question.tenant,
        since=question.since,
        labels=labels,
        hard_from=question.hard_from,
        exact=question.exact,
    )


async def read_labels(kafka: str, tenant: str) -> Labels:
    """Return what people found in a tenant's audit frames, by frame."""
    labels: dict[str, LabelCompleted] = {}

    async def take(record: Record) -> None:
        if tenant_of(record) != tenant:
            return
        label = LabelCompleted.model_validate_json(record.value or b"")
        if label.source is LabelSource.AUDIT:
            labels[label.frame_id] = label

    await for_each_record(kafka, LABELS, (await read_partition_counts(kafka))[LABELS], take)
    return {frame_id: label.boxes for frame_id, label in labels.items()}
