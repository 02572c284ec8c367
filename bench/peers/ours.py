"""Roadloop's loop: `observe` calls the stub, `decide` passes the record on. Run as `python -m peers.ours TASK`."""

import asyncio
import sys

from loop.roadloop import copy, rebuild
from loop.seen import FrameSeen
from peers.work import StubFailed, Work, take_task
from roadloop_runtime import logs, service
from roadloop_runtime.claims import Claim
from roadloop_runtime.decode import Received, decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.loop import Loop
from roadloop_runtime.outcome import Transient
from roadloop_runtime.pending import Limits
from roadloop_runtime.process import identity
from roadloop_runtime.settle_kafka import KafkaSettlement


async def main(stopping: asyncio.Event) -> None:
    """Copy until told to stop."""
    task = take_task()
    work = Work(task)

    async def observe(seen: Received[FrameSeen]) -> Received[FrameSeen]:
        work.begin()
        try:
            await work.call()
        except StubFailed as error:
            raise Transient("stub", str(error)) from error
        return seen

    me = identity("bench-0")
    kafka = Kafka(task.bootstrap, me.client_id)
    claim, member = Claim(kafka, task.target, me, f"{task.target}.members"), kafka.member(task.target, me.member)
    handler = Handler(decoder(FrameSeen), copy, rebuild, lambda: task.target, observe)
    limits = Limits(observing=task.concurrency)
    loop = Loop(claim, {task.source: handler}, kafka=member, settlement=KafkaSettlement(member), limits=limits)
    await service.side_by_side(stopping, [service.tell_fenced_apart(claim, loop.run(stopping))], [])


if __name__ == "__main__":
    logs.configure("bench", "WARNING")
    sys.exit(service.run(main))
