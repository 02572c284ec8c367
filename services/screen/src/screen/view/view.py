"""The view: keep rate and funnel per slice, and the budgets that follow from scores. Run as `python -m screen.view`.

A view, never the truth: it is rebuilt from `frames.screened.v1`, and because every verdict carries its slice's running
counters the table keeps their maximum: a replay after a crash changes nothing.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from roadloop_runtime.kafka import admin
from roadloop_runtime.loop.identity import Identity
from roadloop_runtime.service import lifecycle
from roadloop_runtime.service.health import make_health_app, serve_http
from roadloop_runtime.service.settings import ServiceSettings
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.policies import ScreenPolicy
from roadloop_schemas.topics import FRAMES_SCREENED, SCREEN_SCORES, SCREEN_VIEW, read_topic_files
from screen.state_topics import policy_topic
from screen.state_topics.followed import Followed
from screen.view import score_histograms
from screen.view.funnel import Table, summarise, take_larger
from screen.view.slice_budgets import may_move

SOURCE = FRAMES_SCREENED
CHANGELOG, SCORES_CHANGELOG = SCREEN_VIEW, SCREEN_SCORES


class ViewSettings(ServiceSettings):
    """Of the view."""

    state_dir: Path


class ReadCommittedThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust has no setting for it: outside of its own exactly-once it reads what was aborted, too."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class ReadCommittedConsumer(Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> Any:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)


class ReadCommittedTransport(Transport):  # type: ignore[misc]
    Consumer = ReadCommittedConsumer


class WithoutWeb(faust.App.BootStrategy):  # type: ignore[misc]
    """Faust would serve 0.0.0.0:6066."""

    enable_web = False


class ViewApp(faust.App):  # type: ignore[misc]
    BootStrategy = WithoutWeb


def make_app(settings: ViewSettings, policies: Mapping[str, ScreenPolicy]) -> tuple[Any, Any, Any]:
    """Make the Faust app and its tables: counters by slice, and scores by slice and hour of who lets budgets move."""
    url = f"kafka://{settings.kafka_bootstrap}"
    app = ViewApp(
        "screen-view",
        broker=url,
        store="memory://",
        datadir=str(settings.state_dir / "faust"),
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_commit_interval=1.0,
        stream_buffer_maxsize=256,
        stream_wait_empty=True,
        producer_request_timeout=30.0,
        consumer_auto_offset_reset="earliest",
        cython_optimizations=True,
    )
    app.transport = ReadCommittedTransport([app.conf.broker[0]], app, loop=app.loop)
    partitions = read_topic_files()[SOURCE].partitions
    changelog = app.topic(CHANGELOG, value_type=Any, compacting=True, partitions=partitions)
    table = app.Table("slices", default=dict, partitions=partitions, changelog_topic=changelog)
    scores_log = app.topic(SCORES_CHANGELOG, value_type=Any, compacting=True, partitions=partitions)
    scores = app.Table("scores", partitions=partitions, changelog_topic=scores_log)
    source = app.topic(SOURCE, value_type=bytes, value_serializer="raw", key_serializer="raw")

    async def keep_counters(stream: Any) -> None:
        async for event in stream.events():
            take(table, scores, policies, event.message, event.value)

    app.agent(source, name="keep_counters")(keep_counters)
    return app, table, scores


def take(table: Any, scores: Any, policies: Mapping[str, ScreenPolicy], message: Any, value: bytes) -> None:
    """Take one verdict in. What does not fit is not this view's to judge: the loops' dead letters hold it."""
    try:
        verdict = FrameScreened.model_validate_json(value)
    except ValidationError:
        return
    tenant = bytes(dict(message.headers or {}).get("ce_tenant", b"")).decode(errors="replace")
    key = f"{message.partition}/{tenant}/{verdict.slice}"
    table[key] = take_larger(table[key], verdict.counters.model_dump())
    if may_move(policies.get(tenant)):
        score_histograms.take(scores, message.partition, message.offset, tenant, verdict)


def make_view_app(table: Any, health: Starlette) -> Starlette:
    async def funnel(_: Request) -> JSONResponse:
        counters_by_key: Table = dict(table.items())
        return JSONResponse(summarise(counters_by_key))

    return Starlette(routes=[Route("/v1/funnel", funnel), Mount("/", health)])


async def run_view(app: Any, stopping: asyncio.Event) -> None:
    """Run the Faust app until told to stop."""
    await app.start()
    try:
        await stopping.wait()
    finally:
        await app.stop()


async def main(settings: ViewSettings, _me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop."""
    kafka = settings.kafka_bootstrap
    await admin.check_topics_of_service(kafka, (SOURCE, CHANGELOG, SCORES_CHANGELOG, policy_topic.TOPIC))
    followed = Followed(kafka)
    app, table, scores = make_app(settings, followed.policies)
    http_app = make_view_app(table, make_health_app([], {}, stopping))
    await lifecycle.run_side_by_side(
        stopping,
        [run_view(app, stopping)],
        [
            followed.policy_follower.run(),
            score_histograms.move_budgets_repeatedly(scores, followed.policies, partial(policy_topic.publish, kafka)),
            serve_http(http_app, settings.health_host, settings.health_port, stopping),
        ],
    )
