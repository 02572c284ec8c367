"""The command `roadloop lag`."""

import asyncio
import json
import signal
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from roadloop_runtime.cli.kafka_errors import report_kafka_errors
from roadloop_runtime.cli.options import AsJson, Bootstrap
from roadloop_runtime.cli.terminal import as_table, show_rows
from roadloop_runtime.kafka.lag import TITLES, GroupLag, as_json, sum_groups, to_rows
from roadloop_runtime.kafka.read_lag import Clients, connect, list_groups, read_lags
from roadloop_schemas.topics import read_topic_files

NUMBERS = frozenset(TITLES[2:])
AGAIN_S = 0.5
Show = Callable[[Sequence[GroupLag]], None]


def show_lag(
    kafka: Bootstrap,
    *,
    group: Annotated[list[str] | None, typer.Option("--group", help="Only this group; may be given again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every group of the broker, not only ours.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, until Ctrl-C.")] = False,
    interval_s: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two looks.")] = 2.0,
    json_: AsJson = False,
) -> None:
    """Show how many records, and how many seconds, each consumer group is behind."""
    with report_kafka_errors(kafka), suppress(KeyboardInterrupt):
        if watch and not json_ and Console().is_terminal:
            with Live(auto_refresh=False) as live:
                work = _show_repeatedly(
                    kafka, group, every, interval_s, lambda sums: live.update(_draw_table(sums), refresh=True)
                )
                asyncio.run(_until_ctrl_c(work))
        elif watch:
            asyncio.run(_until_ctrl_c(_show_repeatedly(kafka, group, every, interval_s, _choose_show(json_))))
        else:
            asyncio.run(_show_once(kafka, group, every, _choose_show(json_)))


def list_our_groups() -> Mapping[str, Collection[str]]:
    """Return the groups of the topic files, each with the topics it reads."""
    groups: dict[str, list[str]] = {}
    for topic in read_topic_files().values():
        for group in topic.groups:
            groups.setdefault(group, []).append(topic.name)
    return groups


async def _show_once(kafka: str, names: list[str] | None, every: bool, show: Show) -> None:
    async with connect(kafka) as clients:
        show(sum_groups(await read_lags(clients, await _choose_groups(clients, names, every))))


async def _show_repeatedly(kafka: str, names: list[str] | None, every: bool, interval_s: float, show: Show) -> None:
    async with connect(kafka) as clients:
        while True:
            show(sum_groups(await read_lags(clients, await _choose_groups(clients, names, every))))
            await asyncio.sleep(interval_s)


async def _until_ctrl_c(work: Coroutine[Any, Any, None]) -> None:
    """Work until it ends or Ctrl-C comes; then ask it to end until it does: a Kafka client may lose a cancellation."""
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    working, waiting = asyncio.create_task(work), asyncio.create_task(interrupted.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    while not working.done():
        working.cancel()
        await asyncio.wait({working}, timeout=AGAIN_S)
    error = None if working.cancelled() else working.exception()
    if error is not None and not interrupted.is_set():
        raise error


async def _choose_groups(clients: Clients, names: list[str] | None, every: bool) -> Mapping[str, Collection[str]]:
    ours = list_our_groups()
    if names:
        return {group: ours.get(group, ()) for group in names}
    return {group: ours.get(group, ()) for group in (*ours, *await list_groups(clients))} if every else ours


def _choose_show(json_: bool) -> Show:
    if json_:
        return lambda sums: typer.echo(json.dumps(as_json(sums)))
    return lambda sums: show_rows(TITLES, to_rows(sums), NUMBERS)


def _draw_table(sums: Sequence[GroupLag]) -> Table:
    return as_table(TITLES, to_rows(sums), NUMBERS)
