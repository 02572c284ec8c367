"""Wire label-router: the loop that makes tasks, HTTP for annotators, the outbox."""

import asyncio
import sys
from datetime import UTC, datetime
from functools import partial

from label_router.completion import COMPLETED
from label_router.handle import REQUESTED, Observation, decide, observe
from label_router.http import Dependencies, make_app
from label_router.picture_urls import sign_picture_url
from label_router.prelabels import Policy
from label_router.settings import Settings
from label_router.tables import queue_classes_table, task_table
from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.kafka.admin import check_topics_of_service
from roadloop_runtime.loop.identity import Identity, make_identity
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outbox.outbox_table import publish_outbox
from roadloop_runtime.outbox.publisher import name_position_topic
from roadloop_runtime.outcome import Transient
from roadloop_runtime.service import lifecycle, logs
from roadloop_runtime.service.health import make_health_app, serve_http
from roadloop_runtime.settlement.offset_table import OffsetTable
from roadloop_runtime.settlement.postgres_settlement import PostgresSettlement
from roadloop_runtime.storage.objects import open_store
from roadloop_runtime.storage.postgres import DATABASE_AWAY, Pool, answers, open_pool
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.topics import FRAMES_SCREENED, name_dead_letter_topic

NAME = "label-router"
SCREENED = FRAMES_SCREENED
TOPICS = (SCREENED, name_dead_letter_topic(NAME, SCREENED), REQUESTED, COMPLETED, name_position_topic(NAME))
LOOP_CONNECTIONS = 4


async def main(settings: Settings, me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop. HTTP drains beside the loop; the outbox goes on until both have."""
    dsn = settings.postgres_dsn.get_secret_value()
    await check_topics_of_service(settings.kafka_bootstrap, TOPICS)
    # two pools: a crowd of annotators must not keep the loop from settling
    async with (
        await open_pool(dsn, name=me.member, size=LOOP_CONNECTIONS) as own,
        await open_pool(dsn, name=f"{me.member}-http") as asked,
    ):
        kafka = Kafka(settings.kafka_bootstrap, me.client_id)
        claim, member = Claim(kafka, NAME, me), kafka.member(NAME, me.member)
        settlement = PostgresSettlement(member, OffsetTable(own, task_table.store))
        loop = Loop(claim, {SCREENED: screened(own)}, kafka=member, settlement=settlement)
        checks = {"postgres": partial(answers, own)}
        http = make_app(annotators_need(settings, asked))
        await lifecycle.run_side_by_side(
            stopping,
            [
                lifecycle.run_and_tell_fenced_apart(claim, loop.run(stopping)),
                serve_http(http, settings.http_host, settings.http_port, stopping),
            ],
            [
                publish_outbox(dsn, kafka, NAME),
                serve_http(
                    make_health_app([loop], checks, stopping), settings.health_host, settings.health_port, stopping
                ),
            ],
        )


def screened(pool: Pool) -> Handler[Received[FrameScreened], Observation, None, Policy]:
    """Say how verdicts are handled. There is no memory: the task table is the only state."""

    async def classes_of(tenant: str) -> tuple[str, ...]:
        try:
            return await queue_classes_table.classes_of(pool, tenant)
        except DATABASE_AWAY as error:
            raise Transient("postgres", f"{type(error).__name__}: {error}") from error

    return Handler(
        decode=make_decoder(FrameScreened),
        observe=partial(observe, classes_of=classes_of),
        decide=decide,
        policy=Policy,
        canaries={"postgres": partial(answers, pool)},
    )


def annotators_need(settings: Settings, pool: Pool) -> Dependencies:
    endpoint = settings.public_s3_endpoint or settings.s3_endpoint
    store = open_store(endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    return Dependencies(pool, partial(datetime.now, UTC), partial(sign_picture_url, store), settings.lease_s, Policy())


if __name__ == "__main__":
    settings = Settings.read()
    logs.configure(NAME, settings.log_level)
    sys.exit(lifecycle.run(partial(main, settings, make_identity(settings.member))))
