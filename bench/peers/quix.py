"""Quix Streams, a record after the other. Run as `python -m peers.quix TASK`; the mode is its processing guarantee.

What raises ends the process, and whoever supervises it starts it again. It would begin every time where it was 5 s ago,
and with one failure in a hundred records get nowhere: so it commits every 50 records.
"""

import logging
import sys
import tempfile

from quixstreams import Application

from peers.work import Task, Work, take_task


def make_app(task: Task, folder: str) -> Application:
    """Make the application: decode, call, write."""
    app = Application(
        broker_address=task.bootstrap,
        consumer_group=task.target,
        auto_offset_reset="earliest",
        processing_guarantee=task.mode,
        auto_create_topics=False,
        commit_every=50 if task.failing else 0,
        state_dir=folder,
        loglevel=None,
        consumer_extra_config={"group.instance.id": "bench-0", "session.timeout.ms": 6_000},
        producer_extra_config={"compression.type": "lz4"},
    )
    work = Work(task)

    def process(value: bytes) -> None:
        work.decode(value)
        work.call_blocking()

    def count(_value: bytes) -> None:
        work.count(1)
        if work.over:
            app.stop()

    frames = app.dataframe(app.topic(task.source, value_deserializer="bytes", key_deserializer="bytes"))
    frames = frames.filter(lambda _: not work.over).update(process)
    frames.to_topic(app.topic(task.target, value_serializer="bytes", key_serializer="bytes")).update(count)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="roadloop-bench-quix-") as folder:
        make_app(take_task(), folder).run()
    sys.exit(0)
