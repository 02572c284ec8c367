"""What a round of the demo has in its hands, and how it waits for screening."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from aiokafka import AIOKafkaProducer

from roadloop_local.addresses import Stack
from roadloop_world.actors.planned_drives import PlannedDrives
from roadloop_world.demo.loop_state import LoopState
from roadloop_world.demo.show import Show
from roadloop_world.demo.wait_while_moving import Watch

TENANT = "demo"
# where a person looks who waits for it
SCREENING = "`roadloop lag`, `roadloop logs screen`"
ROLLOUT = "`roadloop models list`, `roadloop logs screen-rollout`"
TRAINER = "`roadloop runs list`, `roadloop logs trainer-trigger`"


@dataclass
class Round:
    """What the demo has in its hands while it runs."""

    stack: Stack
    show: Show
    watch: Watch
    ingest: httpx.AsyncClient
    desk: httpx.AsyncClient
    producer: AIOKafkaProducer
    drives: PlannedDrives
    frames: int = 0  # that were sent
    verdicts_before: int = 0
    announced_before: int = 0

    @property
    def state(self) -> LoopState:
        return self.show.state

    @property
    def in_flight(self) -> int:
        """How many frames of this round have no verdict yet; the books know of those that never get one."""
        return min(self.frames - (len(self.state.verdicts) - self.verdicts_before), self.state.in_flight)

    def is_settled(self) -> bool:
        """Whether every frame has its fate, and every kept one of the rendered fleet its label."""
        kept = sum(f.tenant == TENANT and f.verdict.verdict == "kept" for f in self.state.verdicts)
        is_counted = self.state.books.get("announced", 0) >= self.announced_before + self.frames
        return is_counted and self.state.in_flight == 0 and self.state.books["labelled"] >= kept


@asynccontextmanager
async def open_round(stack: Stack, show: Show, drives: PlannedDrives) -> AsyncIterator[Round]:
    """Open what the demo works with."""
    async with (
        httpx.AsyncClient(base_url=f"http://{stack.address('ingest')}", timeout=300) as ingest,
        httpx.AsyncClient(base_url=f"http://{stack.address('label-router')}", timeout=300) as desk,
        AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True) as producer,
    ):
        yield Round(stack, show, Watch(show.state), ingest, desk, producer, drives)


async def wait_until_screened(this: Round, what: str, in_flight: int) -> None:
    """Wait until no more frames of this round than `in_flight` have no verdict yet."""
    await this.watch.wait_until(what, lambda: this.in_flight <= in_flight, look_at=SCREENING)
