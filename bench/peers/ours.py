"""Roadloop's loop: `observe` calls the stub, `decide` passes the record on. Run as `python -m peers.ours TASK`."""

import asyncio
import sys

from loop.roadloop import copy, rebuild
from loop.seen import FrameSeen
from peers.work import StubFailed, Work, take_task
from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.kafka import Kafka
from roadloop_runtime.loop.identity import make_identity
from roadloop_runtime.loop.limits import Limits
from roadloop_runtime.loop.loop import Loop
from roadloop_runtime.loop.member_claims import Claim
from roadloop_runtime.outcome import Transient
from roadloop_runtime.service import lifecycle, logs
from roadloop_runtime.settlement.kafka_settlement import KafkaSettlement


async def main(stopping: asyncio.Event) -> None:
    """Copy until told to stop."""
    task = take_task()
    work = Work(task)

    async def observe(received: Received[FrameSeen]) -> Received[FrameSeen]:
        work.begin()
        try:
            await work.call()
        except StubFailed as error:
            raise Transient("stub", str(error)) from error
        return received

    me = make_identity("bench-0")
    kafka = Kafka(task.bootstrap, me.client_id)
    claim, member = Claim(kafka, task.target, me, f"{task.target}.members"), kafka.member(task.target, me.member)
    handler = Handler(
        decode=make_decoder(FrameSeen), observe=observe, decide=copy, rebuild=rebuild, policy=lambda: task.target
    )
    limits = Limits(observing=task.concurrency)
    loop = Loop(claim, {task.source: handler}, kafka=member, settlement=KafkaSettlement(member), limits=limits)
    await lifecycle.run_side_by_side(stopping, [lifecycle.run_and_tell_fenced_apart(claim, loop.run(stopping))], [])


if __name__ == "__main__":
    logs.configure("bench", "WARNING")
    sys.exit(lifecycle.run(main))
