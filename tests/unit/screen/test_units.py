"""How far units are and what they cost, as a worker tells it and as `roadloop units` shows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import typer
from starlette.applications import Starlette
from typer.testing import CliRunner

from roadloop_runtime.outcome import Transient
from roadloop_schemas.fields import ObjectRef
from screen.commands import register
from screen.commands.units import TITLES, make_rows
from screen.handle import observe
from screen.inference.predict import InferenceLimits, ModelClient
from screen.progress import ENDED_AT_MOST, Progress, units_app
from screen.vision.detections import Prediction
from tests.builders import PAIR, make_frame, receive_unit

WORKER = "http://127.0.0.1:7"


class Desk:
    """A worker's eyes, whose models answer when they are told to, and a clock that is moved by hand."""

    def __init__(self, error: Exception | None = None) -> None:
        self.now, self.error, self.answer = 0.0, error, asyncio.Event()
        self.progress = Progress(lambda: self.now)
        self.model_client = ModelClient(
            self._fetch, self._detect, InferenceLimits(asyncio.Semaphore(4), asyncio.Semaphore(8))
        )

    async def _fetch(self, _object: ObjectRef) -> bytes:
        self.now += 0.5
        return b"picture"

    async def _detect(self, _model: str, _version: int, _picture: bytes, *, backfill: bool = False) -> Prediction:
        await self.answer.wait()
        if self.error:
            raise self.error
        return Prediction(())

    @asynccontextmanager
    async def looking(self, frames: int = 2) -> AsyncIterator["asyncio.Task[object]"]:
        """Begin to look at a unit, and let all its pictures come in."""
        sent = receive_unit(*(make_frame(number) for number in range(frames)))
        looking = observe(sent, serving=lambda _: PAIR, model_client=self.model_client, progress=self.progress)
        task: asyncio.Task[object] = asyncio.create_task(looking)
        for _ in range(20):
            await asyncio.sleep(0)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_unit_is_told_while_it_is_looked_at_and_with_its_cost_when_it_is_done() -> None:
    desk = Desk()
    async with desk.looking() as task:
        desk.now += 2
        (going,) = desk.progress.to_json()["under_way"]
        assert (going["unit_id"], going["tenant"], going["vehicle"]) == ("u-1", "acme", "car-1")
        assert (going["partition"], going["offset"], going["frames"]) == (5, 9, 2)
        assert (going["fetched"], going["answers"], going["seconds"], going["failure"]) == (2, 0, 3.0, "")
        desk.answer.set()
        await task
    told = desk.progress.to_json()
    assert told["under_way"] == []
    (ended,) = told["ended"]
    assert (ended["fetched"], ended["answers"]) == (2, 4), "two models look at each frame"
    assert (ended["fetch_s"], ended["model_s"]) == (1.0, 8.0), "four answers, of two seconds each"


async def test_a_unit_that_has_to_be_looked_at_again_says_why() -> None:
    desk = Desk(Transient("triton", "away"))
    desk.answer.set()
    async with desk.looking() as task:
        with pytest.raises(Transient):
            await task
    (ended,) = desk.progress.to_json()["ended"]
    assert ended["failure"] == "Transient: triton: away"


async def test_a_unit_whose_partition_moved_on_is_not_told_any_more() -> None:
    desk = Desk()
    async with desk.looking() as task:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert desk.progress.to_json() == {"under_way": [], "ended": []}


async def test_what_is_told_is_bounded() -> None:
    desk = Desk()
    desk.answer.set()
    for _ in range(ENDED_AT_MOST + 5):
        async with desk.looking(frames=1) as task:
            await task
    assert len(desk.progress.to_json()["ended"]) == ENDED_AT_MOST


async def test_a_worker_serves_its_units_beside_its_health() -> None:
    desk = Desk()
    transport = httpx.ASGITransport(units_app(desk.progress, Starlette()))
    async with httpx.AsyncClient(transport=transport, base_url=WORKER) as client:
        assert (await client.get("/v1/units")).json() == {"under_way": [], "ended": []}


def test_a_row_per_unit_those_under_way_first() -> None:
    one = {"unit_id": "u-1", "tenant": "acme", "vehicle": "car-1", "partition": 5, "offset": 9, "frames": 16}
    one |= {"fetched": 12, "answers": 20, "seconds": 1.2345, "fetch_s": 0.4, "model_s": 2.5, "failure": ""}
    ended = {**one, "unit_id": "u-0", "fetched": 16, "failure": "Transient: triton: away"}
    found = make_rows({WORKER: {"under_way": [one], "ended": [ended, ended]}}, 1)
    assert found == [
        ("127.0.0.1:7", "u-1", "acme", "car-1", "5", "9", "looking", "12/16", "20", "1.23", "0.40", "2.50"),
        *[("127.0.0.1:7", "u-0", *found[0][2:6], "Transient: triton: away", "16/16", "20", "1.23", "0.40", "2.50")],
    ]
    assert len(found[0]) == len(TITLES)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param((), "name a worker: --worker http://HOST:PORT", id="nobody-to-ask"),
        pytest.param(("--worker", WORKER), f"no worker answers at {WORKER} (ConnectError", id="nobody-there"),
        pytest.param(("--worker", "localhost"), "no worker answers at localhost (UnsupportedProtocol", id="no-address"),
    ],
)
def test_who_cannot_be_asked_is_named_in_one_line(
    given: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROADLOOP_HEALTH_PORT", raising=False)
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["units", *given])
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert said in result.output
