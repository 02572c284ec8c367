"""Labels: what is asked of annotators, and what they answered."""

from enum import StrEnum

from pydantic import Field

from roadloop_schemas.fields import Condition, Count, Detection, EventBody, Id, LabelBox, Moment, ObjectRef, Unit


class LabelRequested(EventBody):
    """A kept frame waits in a queue. Audit frames are asked blind: they carry no pre-labels."""

    task_id: Id
    frame_id: Id
    upload_id: Id
    vehicle: Id
    queue: Id
    object: ObjectRef
    classes: tuple[str, ...] = ()
    prelabels: tuple[Detection, ...] = ()
    audit: bool = False
    requested_at: Moment


class LabelSource(StrEnum):
    """Why the frame was chosen: only audit frames may become validation."""

    AUDIT = "audit"
    CHOSEN = "chosen"


class LabelCompleted(EventBody):
    """The accepted boxes of one frame. `label_version` grows when a label is corrected.

    `annotator` is a pseudonym. No boxes means: somebody looked and there is nothing.
    """

    task_id: Id
    frame_id: Id
    upload_id: Id
    vehicle: Id
    drive: Id
    object: ObjectRef
    slice: str
    condition: Condition = Condition.UNKNOWN
    label_version: Count = 1
    boxes: tuple[LabelBox, ...]
    annotator: Id
    source: LabelSource
    inclusion_probability: Unit = 1.0
    captured_at: Moment
    completed_at: Moment
    lead_time_s: float = Field(ge=0)
