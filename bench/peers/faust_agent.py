"""A Faust agent that awaits the stub and the delivery of each copy. Run as `python -m peers.faust_agent TASK`.

With a concurrency above one Faust gives up the order of records ("Concurrency" in its guide to agents).
"""

import asyncio
import sys
import tempfile
from typing import Any

import faust

from loop.faust_agent import open_app
from peers.work import Task, Work, take_task
from roadloop_runtime.service import logs


def make_app(task: Task, folder: str) -> faust.App:
    """Make the app with its one agent."""
    app = open_app(
        task,
        folder,
        consumer_group_instance_id="bench-0",
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        stream_wait_empty=True,
    )
    work, target = Work(task), app.topic(task.target, value_serializer="raw", key_serializer="raw")

    async def copy(stream: Any) -> None:
        async for event in stream.events():
            work.decode(event.value)
            await work.call()
            delivery = await target.send(key=event.key, value=event.value, headers=event.message.headers)
            await delivery  # without this a record that the broker refused would be lost without a word

    source = app.topic(task.source, value_serializer="raw", key_serializer="raw")
    app.agent(source, name="copy", concurrency=task.concurrency)(copy)
    return app


if __name__ == "__main__":
    logs.configure("bench", "CRITICAL")
    with tempfile.TemporaryDirectory(prefix="roadloop-bench-faust-") as folder:
        worker = faust.Worker(make_app(take_task(), folder), loop=asyncio.new_event_loop(), loglevel="CRITICAL")
        sys.exit(worker.execute_from_commandline())
