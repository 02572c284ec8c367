"""Trainings and model releases."""

from enum import StrEnum

from pydantic import Field

from roadloop_schemas.fields import Condition, Count, EventBody, Id, Moment, Name, ObjectRef, Unit


class TrainingState(StrEnum):
    """The states of a run. `refused`, `released` and `failed` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    EVALUATED = "evaluated"
    REFUSED = "refused"
    RELEASED = "released"
    FAILED = "failed"


class TrainingChanged(EventBody):
    """A run entered a state. `frame_ids` names the labelled frames of its dataset once, when it is queued."""

    run_id: Id
    revision: Count
    state: TrainingState
    model: Name
    dataset_id: Id
    labels: Count
    base_version: Count
    candidate_version: Count | None = None
    detail: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    frame_ids: tuple[Id, ...] = ()
    changed_at: Moment


class DetectorCard(EventBody):
    """How to feed a detector's weights and read what comes out.

    Families: `roadloop` (uint8 NHWC in, decoded boxes out) and `nanodet` (letterboxed float NCHW in).
    """

    family: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    classes: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    input_width: int = Field(gt=0, le=8192)
    input_height: int = Field(gt=0, le=8192)
    score_floor: Unit = 0.05
    architecture: str = ""


class PrelabelPolicy(EventBody):
    """Which detections annotators are shown as pre-labels."""

    min_score: Unit = 0.3


class ModelReleased(EventBody):
    """One release is one unit: weights, calibration, start thresholds and pre-label policy, switched together."""

    release_id: Id
    model: Name
    version: int = Field(gt=0)
    previous_version: Count | None = None
    weights: ObjectRef
    checkpoint: ObjectRef | None = None
    card: DetectorCard
    calibration: dict[str, float] = Field(default_factory=dict)
    start_threshold: Unit | None = None
    prelabels: PrelabelPolicy = PrelabelPolicy()
    second_model: Name | None = None
    run_id: Id | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    released_at: Moment


class ServingState(StrEnum):
    """What came of a release on the inference server."""

    SERVING = "serving"
    REFUSED = "refused"


class ModelServing(EventBody):
    """The version that screening uses from now on. A refused release leaves the version before it serving."""

    model: Name
    version: Count
    release_id: Id
    state: ServingState = ServingState.SERVING
    previous_version: Count | None = None
    second_model: Name | None = None
    second_version: Count | None = None
    card: DetectorCard
    prelabels: PrelabelPolicy = PrelabelPolicy()
    detail: str = ""
    serving_since: Moment


class DemandChanged(EventBody):
    """What training wants more of: wanted against available labels of one slice."""

    slice: str
    condition: Condition = Condition.UNKNOWN
    wanted: Count
    available: Count
    changed_at: Moment
