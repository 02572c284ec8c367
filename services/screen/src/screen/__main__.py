"""Wire the screening worker: follow policies and serving models, then screen what comes."""

import asyncio
import sys
from functools import partial

from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.loop.identity import Identity, make_identity
from roadloop_runtime.loop.limits import Limits
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outcome import Transient
from roadloop_runtime.service import lifecycle, logs
from roadloop_runtime.service.health import make_health_app, serve_http
from roadloop_runtime.settlement.kafka_settlement import KafkaSettlement
from roadloop_runtime.storage.objects import ObjectStore, keep_connections_open, open_store
from roadloop_schemas.frames import FramesIngested
from roadloop_schemas.topics import FRAMES_INGESTED, FRAMES_SCREENED, MODELS_SERVING, SCREEN_POLICY
from screen.handle import Observation, Policies, decide, observe
from screen.inference.predict import InferenceLimits, ModelClient, RefusedByModel
from screen.inference.request_batcher import RequestBatcher
from screen.inference.triton import Triton
from screen.memory import entries
from screen.memory.snapshots import MemoryTopic
from screen.memory.state import Memory
from screen.progress import Progress, units_app
from screen.settings import Settings
from screen.state_topics.followed import Followed

GROUP = "screen"
SOURCE = FRAMES_INGESTED
TOPICS = (SOURCE, FRAMES_SCREENED, entries.TOPIC, SCREEN_POLICY, MODELS_SERVING)


async def triton_works(triton: Triton, followed: Followed) -> bool:
    """Ask every serving model with a real picture."""
    try:
        for serving in list(followed.serving.values()):
            await triton.ask_canary(serving.model, serving.version)
    except (Transient, RefusedByModel):
        return False
    return True


def handle_units(
    settings: Settings, followed: Followed, store: ObjectStore, triton: Triton, model_client: ModelClient
) -> tuple[Handler[Received[FramesIngested], Observation, Memory, Policies], Progress]:
    """Handle frames.ingested.v1, and let it be seen how far units are."""
    progress = Progress()
    handler = Handler(
        decode=make_decoder(FramesIngested),
        observe=partial(observe, serving=followed.serving_for, model_client=model_client, progress=progress),
        decide=partial(decide, salt=settings.audit_salt.get_secret_value().encode()),
        policy=followed.policies_now,
        rebuild=MemoryTopic(settings.kafka_bootstrap, store).rebuild,
        remember=entries.remember,
        is_new=lambda memory: memory == Memory(),
        canaries={"triton": partial(triton_works, triton, followed), "s3": partial(store.answers, "uploads")},
    )
    return handler, progress


async def main(settings: Settings, me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop."""
    await admin.check_topics_of_service(settings.kafka_bootstrap, TOPICS)
    store = open_store(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    async with keep_connections_open(store) as reading:
        await screen(settings, me, stopping, reading)


async def screen(settings: Settings, me: Identity, stopping: asyncio.Event, store: ObjectStore) -> None:
    """Join the group and screen what comes."""
    followed = Followed(settings.kafka_bootstrap)
    triton = Triton(settings.triton_grpc, followed.classes)
    batcher = RequestBatcher(triton.infer)
    kafka = Kafka(settings.kafka_bootstrap, me.client_id)
    limits = InferenceLimits(asyncio.Semaphore(settings.frames_at_once), asyncio.Semaphore(settings.asked_at_once))
    model_client = ModelClient(store.fetch, batcher.detect, limits)
    handler, progress = handle_units(settings, followed, store, triton, model_client)
    claim, member = Claim(kafka, GROUP, me), kafka.member(GROUP, me.member)
    loop = Loop(
        claim,
        {SOURCE: handler},
        kafka=member,
        settlement=KafkaSettlement(member),
        limits=Limits(in_flight=settings.units_in_flight, observing=settings.observing),
    )

    served = units_app(progress, make_health_app([loop], {}, stopping))

    async def screen_once_caught_up() -> None:
        await followed.policy_follower.caught_up.wait()
        await followed.serving_follower.caught_up.wait()
        await loop.run(stopping)

    await lifecycle.run_side_by_side(
        stopping,
        [lifecycle.run_and_tell_fenced_apart(claim, screen_once_caught_up())],
        [
            followed.policy_follower.run(),
            followed.serving_follower.run(),
            serve_http(served, settings.health_host, settings.health_port, stopping),
        ],
    )
    await batcher.close()
    await triton.close()


if __name__ == "__main__":
    read = Settings.read()
    logs.configure("screen", read.log_level)
    sys.exit(lifecycle.run(partial(main, read, make_identity(read.member))))
