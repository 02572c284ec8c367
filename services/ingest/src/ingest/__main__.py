"""Wire ingest: HTTP for vehicles, the loop that admits uploads, the loop that keeps their fates, the outbox."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import immutables
from fastapi import FastAPI

from ingest import fate_table, fates, http, upload_table
from ingest.abandon import abandon_for_ever
from ingest.handle import Memory, Observation, decide, observe
from ingest.measure import measure
from ingest.settings import Settings
from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.loop.identity import Identity, make_identity
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outbox.outbox_table import publish_outbox
from roadloop_runtime.records import Record
from roadloop_runtime.service import lifecycle, logs
from roadloop_runtime.service.health import make_health_app, serve_http
from roadloop_runtime.settlement.offset_table import OffsetTable
from roadloop_runtime.settlement.postgres_settlement import PostgresSettlement
from roadloop_runtime.storage import postgres
from roadloop_runtime.storage.objects import ObjectStore, keep_connections_open, open_store
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.labels import LabelCompleted
from roadloop_schemas.models import TrainingChanged
from roadloop_schemas.topics import (
    FRAMES_INGESTED,
    FRAMES_SCREENED,
    INGEST_OUTBOX,
    LABELS_COMPLETED,
    TRAININGS_CHANGED,
    UPLOADS_COMPLETED,
    UPLOADS_FATE,
    name_dead_letter_topic,
)
from roadloop_schemas.uploads import UploadCompleted

GROUP = "ingest"
FATES_GROUP = "ingest-fates"
GIVEN_UP = name_dead_letter_topic("screen", FRAMES_INGESTED)
REFUSED = name_dead_letter_topic(GROUP, UPLOADS_COMPLETED)
now = partial(datetime.now, UTC)
TOPICS = (
    UPLOADS_COMPLETED,
    FRAMES_INGESTED,
    FRAMES_SCREENED,
    LABELS_COMPLETED,
    TRAININGS_CHANGED,
    UPLOADS_FATE,
    INGEST_OUTBOX,
    GIVEN_UP,
    REFUSED,
)


async def start_memory(_partition: int) -> Memory:
    """Start empty: what was accepted before the take-over is in the tables."""
    return immutables.Map()


def pass_through(record: Record) -> Record:
    return record


def make_admission_handler(
    settings: Settings, pool: Pool, store: ObjectStore
) -> Handler[Received[UploadCompleted], Observation, Memory, None]:
    """Handle uploads.completed.v1."""
    look = partial(
        observe,
        own_key=settings.signing_key.get_secret_value(),
        bucket=settings.bucket,
        max_file_bytes=settings.max_file_bytes,
        look_up=partial(upload_table.look_up, pool),
        fetch=store.fetch,
        measure=lambda content: asyncio.to_thread(measure, content),
    )
    canaries = {"s3": partial(store.answers, settings.bucket), "postgres": partial(postgres.answers, pool)}
    return Handler(
        decode=make_decoder(UploadCompleted), observe=look, decide=decide, rebuild=start_memory, canaries=canaries
    )


def make_fate_handlers(settings: Settings) -> dict[str, Handler[Any, Any, None, None]]:
    """Handle everything that tells what became of a frame, or of an upload as a whole."""
    own_key = settings.signing_key.get_secret_value()
    return {
        FRAMES_SCREENED: Handler(decode=make_decoder(FrameScreened), decide=fates.decide_on_verdict),
        LABELS_COMPLETED: Handler(decode=make_decoder(LabelCompleted), decide=fates.decide_on_label),
        TRAININGS_CHANGED: Handler(decode=make_decoder(TrainingChanged), decide=fates.decide_on_training),
        GIVEN_UP: Handler(decode=pass_through, decide=fates.decide_on_dead_letter),
        REFUSED: Handler(decode=pass_through, decide=partial(fates.decide_on_upload_dead_letter, own_key=own_key)),
    }


async def main(settings: Settings, me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop."""
    await admin.check_topics_of_service(settings.kafka_bootstrap, TOPICS)
    dsn = settings.postgres_dsn.get_secret_value()
    store = open_store(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    async with await postgres.open_pool(dsn, name=me.member, size=12) as pool, keep_connections_open(store) as files:
        kafka = Kafka(settings.kafka_bootstrap, me.client_id)
        uploads, verdicts = Claim(kafka, GROUP, me), Claim(kafka, FATES_GROUP, me)
        admitting = make_admitting_loop(settings, uploads, kafka, pool, files)
        member = kafka.member(FATES_GROUP, me.member)
        settlement = PostgresSettlement(member, OffsetTable(pool, fate_table.store))
        keeping = Loop(verdicts, make_fate_handlers(settings), kafka=member, settlement=settlement)
        health = make_health_app([admitting, keeping], {"postgres": partial(postgres.answers, pool)}, stopping)
        await lifecycle.run_side_by_side(
            stopping,
            [
                lifecycle.run_and_tell_fenced_apart(uploads, admitting.run(stopping)),
                lifecycle.run_and_tell_fenced_apart(verdicts, keeping.run(stopping)),
            ],
            [
                serve_http(make_vehicles_app(settings, pool), settings.http_host, settings.http_port, stopping),
                serve_http(health, settings.health_host, settings.health_port, stopping),
                publish_outbox(dsn, kafka, "ingest"),
                abandon_for_ever(pool, timedelta(seconds=settings.abandon_after_s), now),
            ],
        )


def make_admitting_loop(settings: Settings, claim: Claim, kafka: Kafka, pool: Pool, store: ObjectStore) -> Loop:
    handlers = {UPLOADS_COMPLETED: make_admission_handler(settings, pool, store)}
    member = kafka.member(GROUP, claim.me.member)
    settlement = PostgresSettlement(member, OffsetTable(pool, upload_table.store))
    return Loop(claim, handlers, kafka=member, settlement=settlement)


def make_vehicles_app(settings: Settings, pool: Pool) -> FastAPI:
    """Make the app for vehicles; its URLs name S3 as vehicles reach it."""
    endpoint = settings.public_s3_endpoint or settings.s3_endpoint
    public = open_store(endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    needs = http.Dependencies(
        pool,
        public,
        bucket=settings.bucket,
        own_key=settings.signing_key.get_secret_value(),
        max_file_bytes=settings.max_file_bytes,
        now=now,
    )
    return http.make_app(needs)


if __name__ == "__main__":
    settings = Settings.read()
    logs.configure("ingest", settings.log_level)
    sys.exit(lifecycle.run(partial(main, settings, make_identity(settings.member))))
