"""The topic of policies: the newest version of each tenant, and who may follow it."""

from collections.abc import Callable
from datetime import UTC, datetime

from roadloop_runtime.kafka import Kafka
from roadloop_runtime.kafka.reader import read_partition
from roadloop_runtime.records import Partition, to_cloud_event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.policies import ScreenPolicy
from roadloop_schemas.topics import SCREEN_POLICY

TOPIC = SCREEN_POLICY
# the policy in force, None for none -> the one to follow it; None to leave it
Change = Callable[[ScreenPolicy | None], ScreenPolicy | None]


async def publish(bootstrap: str, tenant: str, change: Change) -> int:
    """Write the next version of a tenant's policy; return the version in force then, 0 for none.

    Who comes at the same time fences this writer, or is fenced by it: no version is written over one that was not seen.
    """
    writer = await Kafka(bootstrap, "roadloop").fence(TOPIC)
    try:
        records = await read_partition(bootstrap, Partition(TOPIC, 0))
        tenant_policies = [
            ScreenPolicy.model_validate_json(r.value or b"{}") for r in records if r.key == tenant.encode()
        ]
        newest = max(tenant_policies, key=lambda policy: policy.version, default=None)
        version = 0 if newest is None else newest.version
        next_policy = change(newest)
        if next_policy is None:
            return version
        body = next_policy.model_copy(update={"version": version + 1})
        policy_event = to_cloud_event(
            TOPIC,
            body,
            id=derive_id("policy", tenant, body.version),
            source="/roadloop/screen",
            tenant=tenant,
            key=tenant,
            time=datetime.now(UTC),
        )
        await writer.transact([policy_event], {}, "")
    finally:
        await writer.close()
    return body.version
