"""The command `roadloop units`: how far the units are that workers look at now, and what the last ones cost."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.live import Live

from roadloop_runtime.cli.options import AsJson
from roadloop_runtime.cli.terminal import Refused, as_table, report_refusals, show_rows

TITLES = (
    *("worker", "unit", "tenant", "vehicle", "partition", "offset", "state"),
    *("pictures", "answers", "seconds", "fetch s", "model s"),
)
NUMBERS = frozenset(TITLES[7:]) | {"partition", "offset"}
TIMEOUT_S = 5.0
UnitsByWorker = dict[str, dict[str, list[dict[str, Any]]]]


def units(
    *,
    worker: Annotated[list[str] | None, typer.Option(help="http://host:port of a worker's health; may repeat.")] = None,
    health_host: Annotated[str, typer.Option(envvar="ROADLOOP_HEALTH_HOST", hidden=True)] = "127.0.0.1",
    health_port: Annotated[int | None, typer.Option(envvar="ROADLOOP_HEALTH_PORT", hidden=True)] = None,
    last: Annotated[int, typer.Option(min=0, help="Of the units that ended, show so many of each worker.")] = 10,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, until Ctrl-C.")] = False,
    interval_s: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two looks.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Show which units workers look at now and how far they are, and what the last ones cost."""
    with report_refusals(), suppress(KeyboardInterrupt):
        workers = worker or ([f"http://{health_host}:{health_port}"] if health_port else [])
        if not workers:
            raise Refused(
                'name a worker: --worker http://HOST:PORT, its health port (here: eval "$(roadloop env screen)")'
            )
        if watch and Console().is_terminal and not as_json:
            _watch(workers, last, interval_s)
            return
        show(asyncio.run(ask(workers)), last, as_json)
        while watch:
            time.sleep(interval_s)
            show(asyncio.run(ask(workers)), last, as_json)


def _watch(workers: Sequence[str], last: int, interval_s: float) -> None:
    with Live(auto_refresh=False) as live:
        while True:
            live.update(as_table(TITLES, make_rows(asyncio.run(ask(workers)), last), NUMBERS), refresh=True)
            time.sleep(interval_s)


async def ask(workers: Sequence[str]) -> UnitsByWorker:
    """Ask every worker; raise Refused where one does not answer."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        return dict(zip(workers, await asyncio.gather(*(_ask(client, worker) for worker in workers)), strict=True))


async def _ask(client: httpx.AsyncClient, worker: str) -> Any:
    try:
        answer = await client.get(f"{worker.rstrip('/')}/v1/units")
        return answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise Refused(
            f"no worker answers at {worker} ({reason}): give the health port of `python -m screen`"
        ) from error


def show(units_by_worker: UnitsByWorker, last: int, as_json: bool) -> None:
    """Print what was found: a table for a person, lines with tabs or JSON for a program."""
    if as_json:
        typer.echo(json.dumps(units_by_worker))
    else:
        show_rows(TITLES, make_rows(units_by_worker, last), NUMBERS)


def make_rows(units_by_worker: UnitsByWorker, last: int) -> list[tuple[str, ...]]:
    """Return a row per unit, of each worker those under way first."""
    return [
        _make_row(worker, unit, state)
        for worker, worker_units in units_by_worker.items()
        for state, units in (("looking", worker_units["under_way"]), ("looked", worker_units["ended"][:last]))
        for unit in units
    ]


def _make_row(worker: str, unit: dict[str, Any], state: str) -> tuple[str, ...]:
    return (
        worker.removeprefix("http://"),
        *(str(unit[name]) for name in ("unit_id", "tenant", "vehicle", "partition", "offset")),
        unit["failure"] or state,
        f"{unit['fetched']}/{unit['frames']}",
        str(unit["answers"]),
        *(f"{unit[name]:.2f}" for name in ("seconds", "fetch_s", "model_s")),
    )
