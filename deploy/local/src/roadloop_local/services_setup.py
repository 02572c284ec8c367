"""Ask services whether they are ready, and make the topics and schemas that they expect."""

import asyncio

from roadloop_local.layout import Layout
from roadloop_local.servers import postgres
from roadloop_local.servers.triton import get

MIGRATED = {"ingest": "ingest", "label_router": "label_router", "trainer_trigger": "trainer_trigger"}


async def check(name: str, layout: Layout) -> None:
    """Ask a service whether it is ready; raise `NotReadyError` until it is."""
    await asyncio.to_thread(get, layout.ports[f"{name}_health"], "/readyz")


async def prepare(layout: Layout) -> None:
    """Make the topics and bring the schemas up to date, before any service starts."""
    from roadloop_runtime.kafka.admin import ensure_topics
    from roadloop_runtime.storage.migrations import upgrade

    await ensure_topics(layout.address("kafka"))
    for package, role in MIGRATED.items():
        await asyncio.to_thread(upgrade, package, postgres.dsn(layout, role))
