"""Trainings and model releases."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

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


TensorName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
PerColour = tuple[float, float, float]
Spread = Annotated[float, Field(gt=0)]


class DetectorCard(EventBody):
    """How to feed a detector's weights and read what comes out.

    The family says how outputs lie: `roadloop` (peaks picked in the graph), `nanodet` (boxes and scores of each cell),
    `yolo` (one tensor) or `detr` (boxes and scores of each query). What a card leaves out is as its family has it.
    The network is given (pixel x `scale` - `mean`) / `std`, and pixels as they are where `dtype` is uint8. `tensors`
    says what a tensor's name in the graph is. A network without the tensor `embedding` gets a description of where the
    picture's colours and edges are, of 112 numbers, in its place.
    """

    family: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    classes: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    input_width: int = Field(gt=0, le=8192)
    input_height: int = Field(gt=0, le=8192)
    score_floor: Unit = 0.05
    architecture: str = ""
    layout: Literal["nchw", "nhwc"] | None = None
    dtype: Literal["float32", "float16", "uint8"] | None = None
    colours: Literal["rgb", "bgr"] | None = None
    scale: float | None = Field(default=None, gt=0)
    mean: PerColour | None = None
    std: tuple[Spread, Spread, Spread] | None = None
    fit: Literal["letterbox", "stretch"] | None = None
    pad: int | None = Field(default=None, ge=0, le=255)
    box_format: Literal["xyxy", "cxcywh"] | None = None
    box_unit: Literal["pixel", "share"] | None = None
    activation: Literal["none", "sigmoid", "softmax"] | None = None
    no_object: bool | None = None
    objectness: bool | None = None
    suppress_from: Unit | None = None
    tensors: dict[str, TensorName] | None = None


class PrelabelPolicy(EventBody):
    """Which detections annotators are shown as pre-labels."""

    min_score: Unit = 0.3


class ModelReleased(EventBody):
    """One release is one unit: weights, calibration, start thresholds and pre-label policy, switched together.

    A `rollback` is an older release again: it serves at once, and nothing is tried on live frames first.
    """

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
    rollback: bool = False


class ServingState(StrEnum):
    """What came of a release on the inference server."""

    SERVING = "serving"
    REFUSED = "refused"


class RolloutStage(StrEnum):
    """How a new version is tried on live units. Shadow: it looks, too. Shared: it judges some."""

    SHADOW = "shadow"
    SHARED = "shared"


class Candidate(EventBody):
    """A version on its way, loaded beside the one that serves: it looks at, or judges, a `share` of all units."""

    version: Count
    release_id: Id
    stage: RolloutStage
    share: Unit
    second_model: Name | None = None
    second_version: Count | None = None
    card: DetectorCard
    prelabels: PrelabelPolicy = PrelabelPolicy()

    @property
    def in_words(self) -> str:
        """Say how it is tried on live frames."""
        return f"{'looks at' if self.stage is RolloutStage.SHADOW else 'judges'} {self.share:.0%} of units"


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
    candidate: Candidate | None = None


class DemandChanged(EventBody):
    """What training wants more of: wanted against available labels of one slice."""

    slice: str
    condition: Condition = Condition.UNKNOWN
    wanted: Count
    available: Count
    changed_at: Moment


def detector_of(tenant: str) -> str:
    """Return the name of the model that judges a tenant's frames."""
    return f"detector.{tenant}"
