"""The command `roadloop annotate`: pictures with boxes, classes and scores, by a detector's folder or by Triton."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, TextIO, TypeVar

import stamina
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from roadloop_runtime.cli.terminal import Refused, escape_controls, report_refusals
from roadloop_runtime.outcome import Transient
from screen.commands.annotated_pictures import LINES, Detect, Page, PageOutcome, annotate_all, plan_pages
from screen.detector_check.card_file import detector_folder, read_detector_card
from screen.detector_check.check import open_detector_folder
from screen.detector_check.finding import Finding
from screen.detector_check.network import REFUSED
from screen.inference.request_batcher import RequestBatcher
from screen.inference.triton import Triton
from screen.serving.answer import DetectorResult, WrongAnswer
from screen.serving.card import Card
from screen.serving.detector import Detector, judge_grey
from screen.vision.detections import Box
from screen.vision.draw_boxes import SHOWN_FROM

T = TypeVar("T")

ANY_CLASS = tuple(f"class {index}" for index in range(1000))  # as many as a card may have
AT_ONCE = 8  # pictures
TRIES = 5  # of a model server that does not answer, within some ten seconds


def annotate(
    source: Annotated[Path, typer.Argument(exists=True, metavar="IMAGE|FOLDER")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    *,
    detector: Annotated[Path | None, typer.Option(help="A detector's folder, to run it here.")] = None,
    triton: Annotated[str | None, typer.Option(help="host:port of a Triton's gRPC, to ask it instead.")] = None,
    model: Annotated[str | None, typer.Option(help="With --triton: the model, such as detector.acme.")] = None,
    version: Annotated[int | None, typer.Option(help="With --triton: which; the newest if none is given.")] = None,
    card: Annotated[Path | None, typer.Option(help="With --triton: the card that names its classes.")] = None,
    shown_from: Annotated[float, typer.Option(min=0, max=1, help="Draw from this score.")] = SHOWN_FROM,
) -> None:
    """Write pictures with boxes, classes and scores, and detections.jsonl with all of them; 1 if one cannot be read."""
    with report_refusals():
        pages = plan_pages(source, out)
        if detector is not None and triton is None:
            opened = _detect_here(open_here(detector))
        elif detector is None and triton is not None and model is not None:
            opened = _detect_in_triton(triton, model, version, classes_of(card) if card else ANY_CLASS)
        else:
            raise Refused("give --detector FOLDER, or --triton host:port with --model, such as detector.acme")
        with open_lines(out) as lines:
            failed = asyncio.run(_annotate(pages, opened, lines, shown_from))
    if failed:
        typer.echo(f"{failed} of {len(pages)} pictures could not be annotated", err=True)
        raise typer.Exit(1)


@contextmanager
def open_lines(out: Path) -> Iterator[TextIO]:
    """Open the file for the lines; raise Refused where the folder cannot be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lines = (out / LINES).open("w")
    except OSError as error:
        raise Refused(f"--out {out}: {error.strerror}: name a folder that can be written to") from error
    with lines:
        yield lines


def open_here(folder: Path) -> Detector:
    """Open a detector's folder. Raises Refused with all that is wrong with it."""
    detector = open_detector_folder(detector_folder(folder))
    if not isinstance(detector, Detector):
        raise Refused(_join_findings(folder, detector))
    try:
        judge_grey(detector)
    except (WrongAnswer, *REFUSED) as error:
        raise Refused(f"{folder}: {error}: `roadloop models add {folder}` says more") from error
    return detector


def classes_of(card: Path) -> tuple[str, ...]:
    """Return the classes that a card names. Raises Refused where it is none."""
    file = detector_folder(card) / "detector.json"
    if not file.is_file():
        raise Refused(f"{file} is not there: --card names a detector.json or its folder")
    card_or_findings = read_detector_card(file.read_bytes())
    if isinstance(card_or_findings, Card):
        return card_or_findings.classes
    raise Refused(_join_findings(file, card_or_findings))


def _join_findings(place: Path, findings: Sequence[Finding]) -> str:
    return f"{place}: " + "; ".join(f"{finding.what}: {finding.remedy}" for finding in findings)


def boxes_of(result: DetectorResult, classes: Sequence[str]) -> tuple[Box, ...]:
    """Return what was found with its classes by name."""
    rows = result.detections.tolist()
    return tuple(Box(x1, y1, x2, y2, score, classes[int(index)]) for x1, y1, x2, y2, score, index in rows)


@asynccontextmanager
async def _detect_here(detector: Detector) -> AsyncIterator[Detect]:
    def look(picture: bytes) -> tuple[Box, ...]:
        (result,) = detector.detect([detector.prepare(picture)])
        return boxes_of(result, detector.card.classes)

    async def detect(picture: bytes) -> tuple[Box, ...]:
        return await asyncio.to_thread(look, picture)

    yield detect


@asynccontextmanager
async def _detect_in_triton(
    address: str, model: str, version: int | None, classes: tuple[str, ...]
) -> AsyncIterator[Detect]:
    client = Triton(address, lambda _model, _version: classes)
    batcher = RequestBatcher(client.infer)
    try:
        asked_version = version if version is not None else await _ask_patiently(lambda: client.newest(model))

        async def detect(picture: bytes) -> tuple[Box, ...]:
            return (await _ask_patiently(lambda: batcher.detect(model, asked_version, picture, backfill=True))).boxes

        yield detect
    finally:
        await client.close()


async def _ask_patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a model server again where it does not answer; raise Refused where it goes on like that."""
    stamina.instrumentation.set_on_retry_hooks(())  # a person waits here, who is told how it ends
    try:
        async for attempt in stamina.retry_context(on=Transient, attempts=TRIES, timeout=None):
            with attempt:
                return await ask()
    except Transient as error:
        raise Refused(f"no answer: {error.detail}: check --triton, --model and --version") from error
    raise AssertionError("the last try returns or raises")


async def _annotate(
    pages: Sequence[Page], open_detect: AbstractAsyncContextManager[Detect], lines: TextIO, shown_from: float
) -> int:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(pages))

        def tell(outcome: PageOutcome) -> None:
            if outcome.error:
                line = escape_controls(f"{outcome.name}: {outcome.error}")
                progress.console.print(line, markup=False, highlight=False)
            progress.advance(bar)

        async with open_detect as detect:
            return await annotate_all(pages, detect, lines, shown_from=shown_from, at_once=AT_ONCE, tell=tell)
