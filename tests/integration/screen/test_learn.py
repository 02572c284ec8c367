"""The learner on a real broker: what people find in the audit becomes a policy of its own version, and only once."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

import pytest
from aiokafka import AIOKafkaProducer

from roadloop_local.addresses import Stack
from roadloop_local.ports import choose_ports
from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Event, Partition
from roadloop_schemas.frames import VerdictReason
from roadloop_schemas.labels import LabelSource
from roadloop_schemas.policies import ScreenPolicy
from screen.state_topics import policy_topic
from tests.builders import NOW, make_event, make_label, make_label_box, make_verdict
from tests.waiting import GUARD_S, eventually

pytestmark = pytest.mark.integration
CAR = make_label_box()
HALF_NOISE = {"disagreement": 1.0, "low_top_score": 1.0}
CONTROLLED = ScreenPolicy(version=0, threshold=0.5, controlled=True, weights=HALF_NOISE)


def audited(tenant: str, number: int, disagreement: float) -> Event:
    frame_id = f"{tenant}-{number}"
    body = make_verdict(
        frame_id=frame_id,
        received_at=NOW + timedelta(minutes=number),
        reasons=(VerdictReason.AUDIT,),
        score_parts={"disagreement": disagreement, "low_top_score": Random(number).random()},
        audit=True,
    )
    return make_event(body, id=f"verdict-{frame_id}", tenant=tenant)


def labelled(tenant: str, number: int, *, hard: bool) -> Event:
    frame_id = f"{tenant}-{number}"
    body = make_label(
        task_id=f"t-{frame_id}",
        frame_id=frame_id,
        boxes=(CAR,) if hard else (),
        source=LabelSource.AUDIT,
        completed_at=NOW + timedelta(minutes=number),
    )
    return make_event(body, id=f"label-{frame_id}", tenant=tenant)


def audit(tenant: str, frames: range) -> list[Event]:
    """Return verdicts and labels: disagreement tells the hard frames, a fifth of all."""
    told: list[Event] = []
    for number in frames:
        dice = Random(number)
        hard = dice.random() < 0.2
        tells = dice.betavariate(4, 2) if hard else dice.betavariate(2, 4)
        told += [audited(tenant, number, tells), labelled(tenant, number, hard=hard)]
    return told


@asynccontextmanager
async def learner(stack: Stack) -> AsyncIterator[None]:
    port = str(choose_ports(("health",), {})["health"])
    variables = {
        "ROADLOOP_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "ROADLOOP_HEALTH_PORT": port,
        "ROADLOOP_MEMBER": "l-0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "screen.learn", env={**os.environ, **variables}
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), GUARD_S) == 0


async def policies(stack: Stack, tenant: str) -> list[ScreenPolicy]:
    records = await read_partition(stack.kafka_bootstrap, Partition(policy_topic.TOPIC, 0))
    return [ScreenPolicy.model_validate_json(r.value or b"") for r in records if r.key == tenant.encode()]


async def write(stack: Stack, events: list[Event]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap) as producer:
        for one in events:
            await producer.send(one.topic, one.value, key=one.key, headers=list(one.headers))
        await producer.flush()


async def test_what_the_audit_teaches_becomes_a_policy_once_and_stays_over_a_restart(stack: Stack) -> None:
    await admin.ensure_topics(stack.kafka_bootstrap)
    tenant, other = f"t{uuid.uuid4().hex[:8]}", f"o{uuid.uuid4().hex[:8]}"
    for one, policy in ((tenant, CONTROLLED), (other, ScreenPolicy(version=0, threshold=0.5))):
        await policy_topic.publish(stack.kafka_bootstrap, one, lambda _, policy=policy: policy)  # type: ignore[misc]

    async def has_learned() -> bool:
        return (await policies(stack, tenant))[-1].predictor is not None

    async with learner(stack):
        unreadable = Event("labels.completed.v1", b"car-1", b"{", ())
        await write(stack, [unreadable, *audit(tenant, range(400)), *audit(other, range(400))])
        await eventually("the score is learned", has_learned)
    found = (await policies(stack, tenant))[-1]
    assert found.predictor
    assert found.predictor.weights["disagreement"] > 2
    versions = [policy.version for policy in await policies(stack, tenant)]

    async with learner(stack):
        await write(stack, audit(tenant, range(400, 425)))
        third = f"t{uuid.uuid4().hex[:8]}"
        await policy_topic.publish(stack.kafka_bootstrap, third, lambda _: CONTROLLED)
        await write(stack, audit(third, range(400)))

        async def another_has() -> bool:
            return (await policies(stack, third))[-1].predictor is not None

        await eventually("what came later is learned, so what came before was looked at again", another_has)
    again = [policy.version for policy in await policies(stack, tenant)]
    assert again[: len(versions)] == versions
    assert len(again) <= len(versions) + 1, "a better fit on more lessons may follow, not the same again"
    assert [policy.predictor for policy in await policies(stack, other)] == [None]
