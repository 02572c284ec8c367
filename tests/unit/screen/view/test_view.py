"""The view reads committed records only, though Faust has no setting for it, and serves no web of Faust's own."""

import inspect
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from screen.view.view import ReadCommittedConsumer, ViewSettings, make_app


async def test_the_views_consumer_is_read_committed(tmp_path: Path) -> None:
    settings = ViewSettings(member="view-0", kafka_bootstrap="127.0.0.1:9", health_port=1, state_dir=tmp_path)
    app, *_ = make_app(settings, {})
    consumer = app.consumer
    assert isinstance(consumer, ReadCommittedConsumer)
    worker = consumer._thread._create_worker_consumer(app.transport)
    consumer._thread.thread_loop.close()
    assert worker._isolation_level == "read_committed"
    worker._closed = True  # never started: nothing to stop


def test_the_client_still_takes_the_level_from_where_it_is_set() -> None:
    assert "isolation_level=self._isolation_level" in inspect.getsource(AIOKafkaConsumer.start)


async def test_faust_serves_nothing(tmp_path: Path) -> None:
    settings = ViewSettings(member="view-0", kafka_bootstrap="127.0.0.1:9", health_port=1, state_dir=tmp_path)
    app, *_ = make_app(settings, {})
    assert app.boot_strategy._should_enable_web() is False
