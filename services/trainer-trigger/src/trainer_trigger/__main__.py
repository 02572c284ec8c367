"""Wire trainer-trigger: labels in, runs and releases out, and what researchers ask for."""

import asyncio
import sys
from datetime import UTC, datetime
from functools import partial

from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.kafka.reader import Follower
from roadloop_runtime.loop.identity import Identity, make_identity
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outbox.outbox_table import publish_outbox
from roadloop_runtime.outbox.publisher import name_position_topic
from roadloop_runtime.records import Record
from roadloop_runtime.service import health, lifecycle, logs
from roadloop_runtime.settlement.offset_table import OffsetTable
from roadloop_runtime.settlement.postgres_settlement import PostgresSettlement
from roadloop_runtime.storage import postgres
from roadloop_runtime.storage.objects import ObjectStore, open_store
from roadloop_runtime.storage.postgres import Pool
from roadloop_schemas.topics import name_dead_letter_topic
from trainer_trigger import handle, http, runner
from trainer_trigger.settings import Settings
from trainer_trigger.tables import label_table, serving_table
from trainer_trigger.tables.model_table import RELEASED
from trainer_trigger.tables.run_table import CHANGED
from trainer_trigger.tables.serving_table import SERVING
from trainer_trigger.training.candidate import Workshop
from trainer_trigger.training.object_cache import ObjectCache
from trainer_trigger.training.trainer_process import Trainer

SERVICE = "trainer-trigger"
DEAD_LETTERS = name_dead_letter_topic(handle.GROUP, handle.LABELS)
now = partial(datetime.now, UTC)
TOPICS = (handle.LABELS, DEAD_LETTERS, SERVING, CHANGED, RELEASED, name_position_topic(SERVICE))


async def main(settings: Settings, me: Identity, stopping: asyncio.Event) -> None:
    """Run the loop, and beside it the runner, the follower, the outbox and both ports."""
    bootstrap, dsn = settings.kafka_bootstrap, settings.postgres_dsn.get_secret_value()
    await admin.check_topics_of_service(bootstrap, TOPICS)
    pool = await postgres.open_pool(dsn, name=me.member)
    store = open_store(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    kafka = Kafka(bootstrap, me.client_id)
    claim, member = Claim(kafka, handle.GROUP, me), kafka.member(handle.GROUP, me.member)
    settlement = PostgresSettlement(member, OffsetTable(pool, label_table.store))
    loop = Loop(claim, {handle.LABELS: handle.handler(settings.uploads_bucket)}, kafka=member, settlement=settlement)

    async def take_serving(record: Record) -> None:
        await serving_table.take(pool, record)

    checks = {"postgres": lambda: postgres.answers(pool), "s3": lambda: store.answers(settings.models_bucket)}
    app = http.make_app(http.Dependencies(pool, store, settings.datasets_bucket, settings.models_bucket, now))
    health_app = health.make_health_app([loop], checks, stopping)
    try:
        await lifecycle.run_side_by_side(
            stopping,
            [lifecycle.run_and_tell_fenced_apart(claim, loop.run(stopping))],
            [
                publish_outbox(dsn, kafka, SERVICE),
                Follower(bootstrap, SERVING, take_serving).run(),
                runner.run_for_ever(runs_need(settings, pool, store), dsn),
                health.serve_http(app, settings.http_host, settings.http_port, stopping),
                health.serve_http(health_app, settings.health_host, settings.health_port, stopping),
            ],
        )
    finally:
        pool.terminate()


def runs_need(settings: Settings, pool: Pool, store: ObjectStore) -> handle.Dependencies:
    trainer = Trainer(settings.trainer_python, settings.trainer_path, settings.trainer_environment)
    workshop = Workshop(settings.state_dir, ObjectCache(settings.state_dir / "objects", store.fetch), trainer)
    return handle.Dependencies(pool, store, settings.models_bucket, workshop, now)


if __name__ == "__main__":
    settings = Settings.read()
    logs.configure(SERVICE, settings.log_level)
    sys.exit(lifecycle.run(partial(main, settings, make_identity(settings.member))))
