"""The learner: fits the score to what people find in the frames of the audit. Run as `python -m screen.learn`.

Truth is in the topics: it reads them anew at every start and holds the audit of the last 14 days. What it finds is a
policy of its own version, and only ever one that was better on fresh frames; thresholds follow from the rings.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from roadloop_runtime.kafka import admin
from roadloop_runtime.kafka.reader import Follower, follow_topic
from roadloop_runtime.loop.identity import Identity
from roadloop_runtime.records import Record, tenant_of
from roadloop_runtime.service import lifecycle
from roadloop_runtime.service.health import make_health_app, serve_http
from roadloop_runtime.service.settings import ServiceSettings
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.labels import LabelCompleted, LabelSource
from roadloop_schemas.policies import ScreenPolicy
from roadloop_schemas.topics import FRAMES_SCREENED, LABELS_COMPLETED
from screen.learn.improve_policy import improve_policy
from screen.learn.labelled_audit import DAYS, AuditedFrame, LabelledFrame, read_audited_frame
from screen.state_topics import policy_topic
from screen.state_topics.policy_topic import Change
from screen.state_topics.skip_unreadable import skip_unreadable

log = structlog.get_logger()
VERDICTS, LABELS = FRAMES_SCREENED, LABELS_COMPLETED
LOOK_EVERY_S = 5.0
LOOK_AFTER = 25  # new labels
AUDITED = b'"audit":true'


@dataclass
class TenantAudit:
    """The audit of one tenant, from verdicts and labels in whatever order they come."""

    frames: dict[str, AuditedFrame] = field(default_factory=dict)
    labels: dict[str, LabelCompleted] = field(default_factory=dict)
    taken: int = 0
    looked_at: int = 0

    def take_label(self, label: LabelCompleted) -> None:
        known_label = self.labels.get(label.frame_id)
        if known_label is None or known_label.label_version < label.label_version:
            self.labels[label.frame_id] = label
            self.taken += 1

    def select_labelled(self) -> list[LabelledFrame]:
        labelled_ids = self.frames.keys() & self.labels.keys()
        pairs = ((self.frames[frame], self.labels[frame]) for frame in labelled_ids)
        return [LabelledFrame(frame, label.boxes, label.completed_at) for frame, label in pairs]

    def forget(self) -> None:
        """Drop what is older than 14 days; what the time is, the newest frame says."""
        newest = max((frame.received_at for frame in self.frames.values()), default=None)
        if newest is not None:
            self.frames = {key: frame for key, frame in self.frames.items() if frame.received_at > newest - DAYS}
            self.labels = {key: label for key, label in self.labels.items() if label.completed_at > newest - DAYS}


class Learner:
    """One audit per tenant, the policies in force, and the hand that writes new ones."""

    def __init__(self, publish: Callable[[str, Change], Awaitable[int]]) -> None:
        self._publish = publish
        self._audits: dict[str, TenantAudit] = defaultdict(TenantAudit)
        self.policies: dict[str, ScreenPolicy] = {}

    async def take_verdict(self, record: Record) -> None:
        """Take a verdict in, if it is one of the audit: they are one in a hundred, so they are told by their bytes."""
        if AUDITED in (record.value or b""):
            body = FrameScreened.model_validate_json(record.value or b"")
            self._audits[tenant_of(record)].frames[body.frame_id] = read_audited_frame(body)

    async def take_label(self, record: Record) -> None:
        """Take a label of a frame of the audit in."""
        body = LabelCompleted.model_validate_json(record.value or b"")
        if body.source is LabelSource.AUDIT:
            self._audits[tenant_of(record)].take_label(body)

    async def take_policy(self, record: Record) -> None:
        """Take note of the policy in force."""
        self.policies[(record.key or b"").decode()] = ScreenPolicy.model_validate_json(record.value or b"{}")

    async def learn(self) -> None:
        """Write the policies that the labels since the last look have made better."""
        for tenant, audit in list(self._audits.items()):
            policy = self.policies.get(tenant)
            if audit.taken < audit.looked_at + LOOK_AFTER or policy is None:
                continue
            audit.looked_at = audit.taken
            audit.forget()
            labelled_frames = audit.select_labelled()
            better = await asyncio.to_thread(improve_policy, labelled_frames, policy)
            if better is not None:
                version = await self._publish(tenant, partial(_replace_if_unchanged, policy.version, better))
                log.info("policy_learned", tenant=tenant, version=version, lessons=len(labelled_frames))

    async def learn_repeatedly(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await self.learn()
            await asyncio.sleep(LOOK_EVERY_S)


def _replace_if_unchanged(version: int, better: ScreenPolicy, now: ScreenPolicy | None) -> ScreenPolicy | None:
    """Return the better policy, unless somebody has written another one meanwhile: the next look compares with that."""
    return better if now is not None and now.version == version else None


async def main(settings: ServiceSettings, _me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop."""
    kafka = settings.kafka_bootstrap
    await admin.check_topics_of_service(kafka, (VERDICTS, LABELS, policy_topic.TOPIC))
    learner = Learner(partial(policy_topic.publish, kafka))
    partitions = await admin.read_partition_counts(kafka)
    await lifecycle.run_side_by_side(
        stopping,
        [],
        [
            Follower(kafka, policy_topic.TOPIC, skip_unreadable(learner.take_policy)).run(),
            follow_topic(kafka, VERDICTS, partitions[VERDICTS], skip_unreadable(learner.take_verdict)),
            follow_topic(kafka, LABELS, partitions[LABELS], skip_unreadable(learner.take_label)),
            learner.learn_repeatedly(),
            serve_http(make_health_app([], {}, stopping), settings.health_host, settings.health_port, stopping),
        ],
    )
