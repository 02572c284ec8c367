"""A verdict as its event: all it takes to decide it again, and what a person needs to see why. Pure."""

from roadloop_runtime.decode import Received
from roadloop_runtime.records import Event, to_cloud_event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.fields import Detection
from roadloop_schemas.frames import (
    BudgetState,
    FrameMeasures,
    FrameScreened,
    FramesIngested,
    IngestedFrame,
    ShadowVerdict,
    SliceCounters,
    Verdict,
    VerdictReason,
)
from roadloop_schemas.policies import ScreenPolicy
from roadloop_schemas.topics import FRAMES_SCREENED
from screen.decision.decide_frame import Decision
from screen.decision.facts import Facts
from screen.decision.near_duplicates import Picture
from screen.decision.serving_versions import JudgingModels
from screen.decision.thresholds import SliceThreshold
from screen.memory.state import Counters
from screen.vision.detections import Box
from screen.vision.embedding import as_text

PRELABELS_AT_MOST = 100
PRELABEL_FLOOR = 0.05


def write_verdict(
    unit: Received[FramesIngested],
    frame: IngestedFrame,
    decision: Decision,
    policy: ScreenPolicy,
    *,
    facts: Facts,
    judges: JudgingModels,
    threshold: SliceThreshold,
    budget: BudgetState | None,
    counters: Counters,
    boxes: tuple[Box, ...],
    picture: Picture,
    shadow: ShadowVerdict | None,
) -> Event:
    """Return the event that tells a decision; a kept frame's boxes travel with it."""
    is_kept = decision.verdict is Verdict.KEPT
    body = FrameScreened(
        frame_id=frame.frame_id,
        unit_id=unit.body.unit_id,
        upload_id=unit.body.upload_id,
        vehicle=unit.body.vehicle,
        drive=unit.body.drive,
        object=frame.object,
        captured_at=frame.captured_at,
        received_at=unit.body.received_at,
        width_px=frame.width_px,
        height_px=frame.height_px,
        verdict=decision.verdict,
        reasons=decision.reasons,
        rules=decision.rules,
        detail=decision.detail,
        slice=f"{frame.condition}/{frame.camera}",
        condition=frame.condition,
        models=judges.models,
        policy_version=policy.version,
        threshold=threshold.value,
        score=decision.score,
        score_scale=threshold.scale,
        score_parts=dict(decision.parts),
        audit=decision.audit,
        inclusion_probability=policy.audit_share if decision.reasons == (VerdictReason.AUDIT,) else 1.0,
        counters=SliceCounters(**counters._asdict()),
        replayed=unit.replayed,
        budget=budget,
        measures=_measures(facts, decision, picture),
        embedding=as_text(picture.embedding),
        detections=_clip(boxes) if is_kept else (),
        prelabel_from=judges.prelabels.min_score if is_kept else None,
        shadow=shadow,
    )
    return _event(unit, frame, body)


def _measures(facts: Facts, decision: Decision, picture: Picture) -> FrameMeasures:
    return FrameMeasures(
        lot=facts.lot,
        brightness=facts.brightness,
        laplacian_variance=facts.laplacian_variance,
        nearest_bits=facts.nearest_bits,
        nearest_step=facts.nearest_step,
        nearest_cosine=facts.nearest_cosine,
        light_change=facts.light_change,
        like_empty=facts.like_empty,
        nothing_there=facts.nothing_there,
        new_object=facts.new_object,
        echo=decision.echo,
        matched=facts.matched,
        versions=facts.keys.versions,
        dhash=picture.dhash,
        surely=dict(picture.surely),
        perhaps=dict(picture.perhaps),
    )


def _clip(boxes: tuple[Box, ...]) -> tuple[Detection, ...]:
    """Return what travels with a kept frame: the best boxes, well-formed and inside the picture."""
    best = sorted((box for box in boxes if box.score >= PRELABEL_FLOOR), key=lambda box: -box.score)
    clipped = [(box, *_inside(box)) for box in best[:PRELABELS_AT_MOST]]
    return tuple(
        Detection(x1=x1, y1=y1, x2=x2, y2=y2, class_name=box.class_name, score=round(box.score, 4))
        for box, x1, y1, x2, y2 in clipped
        if x2 > x1 and y2 > y1
    )


def _inside(box: Box) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(min(1.0, max(0.0, edge)), 5) for edge in (box.x1, box.y1, box.x2, box.y2))
    return x1, y1, x2, y2


def _event(unit: Received[FramesIngested], frame: IngestedFrame, body: FrameScreened) -> Event:
    envelope = unit.envelope
    return to_cloud_event(
        FRAMES_SCREENED,
        body,
        id=derive_id(envelope.source, envelope.id, frame.frame_id),
        source="/roadloop/screen",
        tenant=envelope.tenant,
        key=unit.body.vehicle,
        time=frame.captured_at,
        subject=frame.frame_id,
        partition=unit.partition,
    )
