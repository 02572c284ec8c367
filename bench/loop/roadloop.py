"""The whole consume loop around a handler that has nothing to say. Run as `python -m loop.roadloop JOB`."""

import asyncio
import sys

from loop.client import Job, Meter, take_job
from loop.seen import FrameSeen
from roadloop_runtime.broker import Member
from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.loop.identity import make_identity
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outcome import Emit
from roadloop_runtime.records import Event, Partition
from roadloop_runtime.service import lifecycle, logs
from roadloop_runtime.settlement.kafka_settlement import KafkaSettlement
from roadloop_runtime.settlement.protocols import Batch, Settled


class MeteredSettlement(KafkaSettlement):
    """Starts the meter at the first take-over, stops it at the last settle."""

    def __init__(self, kafka: Member, job: Job, stopping: asyncio.Event) -> None:
        super().__init__(kafka)
        self._job = job
        self._meter = Meter(job)
        self._stopping = stopping
        self._settled = self._settles = 0

    async def take_over(self, partition: Partition) -> Settled:
        self._meter.start()
        return await super().take_over(partition)

    async def settle(self, batch: Batch) -> None:
        await super().settle(batch)
        self._settled += len(batch.events)
        self._settles += 1
        if self._settled == self._job.records and not self._stopping.is_set():
            self._meter.stop(self._settled, self._settles)
            self._stopping.set()


def copy(_memory: None, received: Received[FrameSeen], target: str) -> tuple[None, Emit]:
    """Pass an event on as it came, to the partition of the same number."""
    record = received.record
    return None, Emit((Event(target, record.key, record.value, tuple(record.headers), record.partition),))


async def rebuild(_partition: int) -> None:
    """Remember nothing."""


async def main(stopping: asyncio.Event) -> None:
    """Copy until the last record is settled."""
    job = take_job(Job)
    me = make_identity("bench-0")
    kafka = Kafka(job.bootstrap, me.client_id)
    claim, member = Claim(kafka, job.target, me, f"{job.target}.members"), kafka.member(job.target, me.member)
    handler = Handler(decode=make_decoder(FrameSeen), decide=copy, rebuild=rebuild, policy=lambda: job.target)
    settlement = MeteredSettlement(member, job, stopping)
    loop = Loop(claim, {job.source: handler}, kafka=member, settlement=settlement)
    await lifecycle.run_side_by_side(stopping, [lifecycle.run_and_tell_fenced_apart(claim, loop.run(stopping))], [])


if __name__ == "__main__":
    logs.configure("bench", "WARNING")
    sys.exit(lifecycle.run(main))
