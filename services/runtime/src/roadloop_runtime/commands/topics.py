"""The command `roadloop topics create`."""

import asyncio

from roadloop_runtime.cli.kafka_errors import report_kafka_errors
from roadloop_runtime.cli.options import Bootstrap
from roadloop_runtime.kafka import admin


def create_topics(kafka: Bootstrap) -> None:
    """Create the topics that are missing; refuse a changed partition count."""
    with report_kafka_errors(kafka):
        asyncio.run(admin.ensure_topics(kafka))
