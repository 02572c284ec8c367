"""The same copy as a Faust agent. Run as `python -m loop.faust_agent JOB`; ends after its records or its seconds."""

import asyncio
import sys
import tempfile
from typing import Any

import faust

from loop.client import PARTITIONS, Job, Meter, take_job
from loop.seen import FrameSeen
from roadloop_runtime.service import logs


class WithoutWeb(faust.App.BootStrategy):
    """Faust would serve a port."""

    enable_web = False


class CopyApp(faust.App):
    """An app without a web server."""

    BootStrategy = WithoutWeb


def open_app(job: Job, folder: str, **settings: Any) -> faust.App:
    """Make an app for a job, without its agent."""
    return CopyApp(
        job.target,
        broker=f"kafka://{job.bootstrap}",
        store="memory://",
        datadir=folder,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        producer_compression_type="lz4",
        producer_max_batch_size=256 * 1024,
        **settings,
    )


def make_app(job: Job, folder: str, finished: asyncio.Event) -> faust.App:
    """Make the app with its one agent."""
    app = open_app(job, folder)
    meter, target = Meter(job), app.topic(job.target, value_serializer="json", key_serializer="raw")

    async def copy(stream: Any) -> None:
        copied = 0
        async for event in stream.events():
            meter.start()
            if finished.is_set():
                continue
            frame_seen = FrameSeen.model_validate(event.value)
            await target.send(
                key=event.key,
                value=frame_seen.model_dump(mode="json"),
                partition=event.message.partition,
                headers=event.message.headers,
            )
            copied += 1
            if copied == job.records or (copied % 100 == 0 and meter.elapsed_s > job.seconds):
                meter.stop(copied)
                finished.set()

    app.agent(app.topic(job.source, value_serializer="json", key_serializer="raw"), name="copy")(copy)
    return app


async def main() -> None:
    """Copy until told to stop by the agent; the stop writes what is still buffered."""
    finished = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="roadloop-bench-faust-") as folder:
        app = make_app(take_job(Job), folder, finished)
        await app.start()
        await finished.wait()
        await app.stop()


if __name__ == "__main__":
    logs.configure("bench", "WARNING")
    sys.exit(asyncio.run(main()))
