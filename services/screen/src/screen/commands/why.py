"""The command `roadloop why`: find a frame's verdict, say it in a sentence, and draw what was seen."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from roadloop_runtime.cli.kafka_errors import report_kafka_errors
from roadloop_runtime.cli.options import AsJson, Bootstrap
from roadloop_runtime.cli.terminal import Refused, escape_controls
from roadloop_runtime.kafka.admin import check_topics_of_service, read_partition_counts
from roadloop_runtime.kafka.reader import for_each_record
from roadloop_runtime.outcome import Transient
from roadloop_runtime.records import Record
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing, ObjectRefused, ObjectStore, open_store
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.topics import FRAMES_SCREENED
from screen.commands.why_text import explain
from screen.vision.draw_boxes import draw_boxes

VERDICTS = FRAMES_SCREENED


def why(
    kafka: Bootstrap,
    frame_id: Annotated[str, typer.Argument(help="A frame's id, as verdicts and tasks have it.")],
    *,
    picture: Annotated[Path | None, typer.Option(help="Write the picture with its boxes there, as JPEG.")] = None,
    s3: Annotated[
        str, typer.Option("--s3", envvar="ROADLOOP_S3_ENDPOINT", help="With --picture: http://host:port.")
    ] = "",
    access_key: Annotated[str, typer.Option(envvar="ROADLOOP_S3_ACCESS_KEY", show_default=False)] = "",
    secret_key: Annotated[str, typer.Option(envvar="ROADLOOP_S3_SECRET_KEY", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Say why a frame was kept, dropped or quarantined, and what it was held against."""
    with report_kafka_errors(kafka):
        verdict = asyncio.run(find_verdict(kafka, frame_id))
        if verdict is None:
            raise Refused(f"{VERDICTS} has no verdict on {frame_id}: it waits, or its verdict expired (`roadloop lag`)")
        if picture is not None:
            refuse_unwritable(picture, all((s3, access_key, secret_key)))
            content = asyncio.run(draw_picture(open_store(s3, access_key, secret_key), verdict))
    if picture is not None:
        picture.write_bytes(content)
    typer.echo(verdict.model_dump_json(indent=2) if as_json else escape_controls(explain(verdict)))


def refuse_unwritable(picture: Path, knows_s3: bool) -> None:
    """Raise Refused where no picture can be had, or written."""
    if not knows_s3:
        raise Refused("--picture needs --s3, --access-key and --secret-key (`roadloop env` prints them)")
    if not picture.parent.is_dir():
        raise Refused(f"--picture {picture}: there is no folder {picture.parent}")


async def find_verdict(bootstrap: str, frame_id: str) -> FrameScreened | None:
    """Return the verdict on a frame; None where there is none, or no more. Reads the topic until it is found."""

    async def take(record: Record) -> None:
        if dict(record.headers).get("ce_subject") == frame_id.encode():
            raise _VerdictFound(FrameScreened.model_validate_json(record.value or b""))

    await check_topics_of_service(bootstrap, [VERDICTS])
    try:
        await for_each_record(bootstrap, VERDICTS, (await read_partition_counts(bootstrap))[VERDICTS], take)
    except _VerdictFound as reached:
        return reached.verdict
    return None


class _VerdictFound(Exception):
    """Ends the reading."""

    def __init__(self, verdict: FrameScreened) -> None:
        super().__init__(verdict.frame_id)
        self.verdict = verdict


async def draw_picture(store: ObjectStore, verdict: FrameScreened) -> bytes:
    """Return a frame's picture with the boxes that its verdict tells; only kept frames' verdicts have any."""
    try:
        return draw_boxes(await store.fetch(verdict.object), verdict.detections, verdict.width_px)
    except (ObjectMissing, ObjectChanged, ObjectRefused, Transient) as error:
        raise Refused(f"no picture of {verdict.frame_id}: {error}") from error
