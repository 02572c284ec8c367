"""Follow a running loop from outside: its topics, ingest's books, and how trainings go."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httpx
from aiokafka import TopicPartition

from roadloop_runtime.kafka.reader import open_reader
from roadloop_runtime.records import Record
from roadloop_schemas.topics import read_topic_files
from roadloop_world.demo.loop_state import SERVING, TRAININGS, VERDICTS, News
from roadloop_world.demo.wait_while_moving import Watch

FOLLOWED = (VERDICTS, TRAININGS, SERVING)
BOOKS_EVERY_S = 2.0
LOG_EVERY_S = 1.0
Tell = Callable[[News], None]


async def follow_topics(bootstrap: str, watch: Watch, tell: Tell) -> None:
    """Fold every event of the followed topics in, from the first one on; for ever."""
    async with open_reader(bootstrap) as consumer:
        consumer.assign(
            [TopicPartition(name, part) for name in FOLLOWED for part in range(read_topic_files()[name].partitions)]
        )
        while True:
            batch = await consumer.getmany(timeout_ms=1000)
            for record in sorted(
                (r for records in batch.values() for r in records), key=lambda record: record.timestamp
            ):
                if news := watch.state.take(cast("Record", record)):
                    tell(news)
            if batch:
                watch.notify()


async def follow_books(ingest: httpx.AsyncClient, watch: Watch) -> None:
    """Fold ingest's figures in, again and again; while ingest is away they stay as they were."""
    while True:
        await read_books(ingest, watch)
        await asyncio.sleep(BOOKS_EVERY_S)


async def read_books(ingest: httpx.AsyncClient, watch: Watch) -> None:
    """Fold ingest's figures in once."""
    try:
        answer = await ingest.get("/v1/books")
        answer.raise_for_status()
    except httpx.HTTPError:
        return
    watch.state.take_books(answer.json())
    watch.notify()


async def follow_trainings(log: Path, watch: Watch) -> None:
    """Fold in what trainer-trigger logs of a training's progress; for ever."""
    position = 0
    while True:
        lines, position = await asyncio.to_thread(read_lines, log, position)
        for line in lines:
            if '"training_progress"' in line:
                watch.state.take_step(json.loads(line))
                watch.notify()
        await asyncio.sleep(LOG_EVERY_S)


def read_lines(log: Path, position: int) -> tuple[list[str], int]:
    """Return the whole lines from a position on, and the position behind them; a log that was rotated begins anew."""
    if not log.exists():
        return [], 0
    start = position if log.stat().st_size >= position else 0
    with log.open("rb") as file:
        file.seek(start)
        whole, newline, _ = file.read().rpartition(b"\n")
    text = (whole + newline).decode(errors="replace")
    return text.splitlines(), start + len(whole) + len(newline)
