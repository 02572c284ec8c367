"""Frames of the audit, and what people saw in them: what the learner learns from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from roadloop_schemas.fields import Condition, LabelBox
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.frame_keys import eye_of
from screen.vision.detections import Box
from screen.vision.label_errors import SERVED_FROM, count_errors

DAYS = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class AuditedFrame:
    """What is kept of a verdict on a frame of the audit; `embedding` is that of the network `eye`, as text."""

    frame_id: str
    received_at: datetime
    condition: Condition
    parts: Mapping[str, float]
    boxes: tuple[Box, ...]
    embedding: str
    eye: str


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """A frame of the audit with what people saw in it, since when."""

    frame: AuditedFrame
    labels: tuple[LabelBox, ...]
    at: datetime

    def hardness(self, policy: ScreenPolicy) -> float:
        """Return how hard the frame was, 0..1: its errors in parts of what the policy calls hard."""
        return min(1.0, count_errors(self.frame.boxes, self.labels) / policy.hard_errors)


def read_audited_frame(verdict: FrameScreened) -> AuditedFrame:
    """Return what is kept of a verdict: of its detections those that count as such."""
    claims = (detection for detection in verdict.detections if detection.score >= SERVED_FROM)
    boxes = tuple(Box(claim.x1, claim.y1, claim.x2, claim.y2, claim.score, claim.class_name) for claim in claims)
    eye = eye_of(verdict.models) if verdict.models else ""
    frame_fields = (verdict.frame_id, verdict.received_at, verdict.condition, verdict.score_parts)
    return AuditedFrame(*frame_fields, boxes, verdict.embedding, eye)


def select_recent(labelled_frames: Sequence[LabelledFrame]) -> list[LabelledFrame]:
    """Return the labelled frames of the last 14 days that have a score, in the order their labels came."""
    scored = [labelled for labelled in labelled_frames if labelled.frame.parts]
    ordered = sorted(scored, key=lambda labelled: (labelled.at, labelled.frame.frame_id))
    return [labelled for labelled in ordered if labelled.at > ordered[-1].at - DAYS]
