"""The command `roadloop models add`: try a detector on pictures, say what is wrong, and only then release it."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import onnxruntime
import typer
from typer.core import TyperGroup

from roadloop_runtime.cli.terminal import Refused, escape_controls, report_refusals
from screen.commands.annotate import boxes_of
from screen.commands.annotated_pictures import Page, choose_name, plan_pages, write
from screen.detector_check.card_file import detector_folder
from screen.detector_check.check import Picture, open_detector_folder, try_detector
from screen.detector_check.finding import Finding
from screen.detector_check.synthetic_pictures import draw_pictures
from screen.serving.answer import DetectorResult
from screen.serving.canvas import BadPicture
from screen.serving.detector import Detector
from screen.vision.detections import Box
from screen.vision.draw_boxes import SHOWN_FROM


class Then(StrEnum):
    """What follows a trial that found nothing grave: the command of that name."""

    SEED = "seed"
    OFFER = "offer"


def add_model(
    context: typer.Context,
    card: Annotated[Path, typer.Argument(exists=True, help="A detector.json beside its model.onnx, or their folder.")],
    *,
    pictures: Annotated[Path | None, typer.Option(exists=True, help="Try it on these; else on drawn ones.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the pictures with boxes there.")] = None,
    then: Annotated[Then | None, typer.Option(help="Release it (seed), or offer it to the gate (offer).")] = None,
    tenant: Annotated[str | None, typer.Option(help="With --then.")] = None,
    model: Annotated[str | None, typer.Option(help="With --then: ends with a dot and the tenant.")] = None,
) -> None:
    """Try a detector on pictures, as it will be served, and say what is wrong; 1 if something grave is."""
    onnxruntime.set_default_logger_severity(4)  # what it would print is in the findings
    with report_refusals():
        folder = detector_folder(card)
        if then and not (tenant and model):
            raise Refused("--then needs --tenant and --model, such as --tenant acme --model detector.acme")
        findings = try_folder(folder, pictures, out)
    for finding in findings:
        typer.echo(escape_controls(f"{'wrong' if finding.grave else 'look at'}: {finding.what}\n    {finding.remedy}"))
    if any(finding.grave for finding in findings):
        raise typer.Exit(1)
    typer.echo("nothing is wrong with it" if not findings else "it can serve")
    if then and tenant and model:
        _go_on(context, [then.value, "--tenant", tenant, "--model", model, "--folder", str(folder)])


def try_folder(folder: Path, pictures: Path | None, out: Path | None) -> list[Finding]:
    """Try the detector of a folder, with a line per picture; return what is wrong."""
    pages = plan_pages(pictures, out) if pictures else None
    detector = open_detector_folder(folder)
    if not isinstance(detector, Detector):
        return detector

    def tell(picture: Picture, result: DetectorResult | BadPicture) -> None:
        name, encoded = picture
        if isinstance(result, BadPicture):
            typer.echo(escape_controls(f"{name}: {result}"))
            return
        boxes = boxes_of(result, detector.card.classes)
        typer.echo(escape_controls(f"{name}: {summarise(boxes)}"))
        if out:
            _draw(out / choose_name(Path(name)), encoded, boxes)

    shown = ((page.name, _read_page(page)) for page in pages) if pages else draw_pictures()
    return try_detector(detector, shown, tell, synthetic=pages is None)


def _draw(target: Path, picture: bytes, boxes: Sequence[Box]) -> None:
    try:
        write(target, picture, boxes, SHOWN_FROM)
    except (OSError, BadPicture) as error:
        raise Refused(f"{target} cannot be written: {error}") from error


def summarise(boxes: Sequence[Box]) -> str:
    """Say how many boxes there are of each class, and the best score."""
    if not boxes:
        return "nothing"
    counts = Counter(box.class_name for box in boxes if box.score >= SHOWN_FROM)
    shown = ", ".join(f"{count} {name}" for name, count in counts.most_common(5)) or "nothing"
    return f"{shown} from {SHOWN_FROM} up; {len(boxes)} in all, the best {boxes[0].class_name} {boxes[0].score:.2f}"


def _read_page(page: Page) -> bytes:
    """Return a picture file; one that cannot be read is told like one that is no picture."""
    try:
        return page.source.read_bytes()
    except OSError:
        return b""


def _go_on(context: typer.Context, arguments: list[str]) -> None:
    """Run the command of the same group that releases or offers: it belongs to another service."""
    group = context.parent.command if context.parent else None
    if not isinstance(group, TyperGroup) or arguments[0] not in group.commands:
        typer.echo(f"there is no `roadloop models {arguments[0]}` here: install roadloop-trainer-trigger", err=True)
        raise typer.Exit(1)
    code = group.main(arguments, prog_name="roadloop models", standalone_mode=False)
    raise typer.Exit(code if isinstance(code, int) else 0)
