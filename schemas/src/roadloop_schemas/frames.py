"""Frames: what ingest measured, and what screening decided."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from roadloop_schemas.fields import Condition, Count, Detection, EventBody, Id, Moment, Name, ObjectRef, Unit


class IngestedFrame(EventBody):
    """One picture that is whole, safe and new, with what ingest measured on a scaled decode.

    `dhash` is the 64-bit difference hash in hex; `laplacian_variance` is taken at 320 pixels' width;
    `brightness` is the mean grey value, 0..1.
    """

    frame_id: Id
    object: ObjectRef
    width_px: int = Field(gt=0, le=32768)
    height_px: int = Field(gt=0, le=32768)
    captured_at: Moment
    camera: Name
    condition: Condition = Condition.UNKNOWN
    dhash: str = Field(pattern=r"^[0-9a-f]{16}$")
    laplacian_variance: float = Field(ge=0)
    brightness: Unit
    signals: tuple[Name, ...] = Field(default=(), max_length=8)


class FramesIngested(EventBody):
    """One unit: 1 to 64 frames of one drive, in the order they were taken."""

    unit_id: Id
    upload_id: Id
    vehicle: Id
    drive: Id
    received_at: Moment
    frames: tuple[IngestedFrame, ...] = Field(min_length=1, max_length=64)


class Verdict(StrEnum):
    """The one fate of a frame in screening."""

    KEPT = "kept"
    DROPPED = "dropped"
    QUARANTINED = "quarantined"


class VerdictReason(StrEnum):
    """Why. A kept frame may have several reasons; a dropped or quarantined one has exactly one."""

    AUDIT = "audit"
    RULE = "rule"
    SCORE = "score"
    BELOW_THRESHOLD = "below_threshold"
    BLURRED = "blurred"
    BADLY_EXPOSED = "badly_exposed"
    NEAR_DUPLICATE = "near_duplicate"
    NO_TARGET = "no_target"
    NOT_A_PICTURE = "not_a_picture"
    OBJECT_MISSING = "object_missing"
    OBJECT_CHANGED = "object_changed"
    REFUSED_BY_MODEL = "refused_by_model"


class ModelPair(EventBody):
    """Which weights judged a frame. `second` is another architecture; its disagreement is a score part."""

    name: Name
    version: Count
    second_name: Name | None = None
    second_version: Count | None = None


class SliceCounters(EventBody):
    """Running counters of one slice in one partition, after this frame: views keep the maximum."""

    seen: Count
    kept: Count
    dropped: Count
    quarantined: Count


class BudgetState(EventBody):
    """Where a slice's keep rate stood when a frame was judged.

    `budget` is the share of all its frames to keep, `share` that of the scored ones which the threshold aims at. `debt`
    is how many frames were kept too few (negative: too many). `scores` is how many of the slice's own the threshold was
    taken from; 0 while the slice is too young for one.
    """

    budget: Unit
    share: Unit
    debt: float
    scores: Count


class FrameMeasures(EventBody):
    """What a verdict was decided from, beside its score parts: with these it can be decided again without a picture.

    `lot` is the frame's draw for the audit, 0..1. `nearest_bits` is the distance of its difference hash to the nearest
    kept one of its camera, `nearest_step` that of its scene to the nearest kept one of its camera, as a multiple of
    what usually lies between two pictures, `nearest_cosine` the likeness to the nearest kept scene of its slice.
    `like_empty` is its likeness to scenes that the audit has shown to be empty; `nothing_there` says that no model saw
    anything in it or in its neighbours. `new_object`: it shows one more object than that nearest kept frame. `matched`
    are the rules that would keep it, within their quotas or not. `echo` is how many frames of its
    camera's drive were kept a short while ago, each faded by its age.
    """

    lot: Unit
    brightness: Unit
    laplacian_variance: float = Field(ge=0)
    nearest_bits: int | None = Field(default=None, ge=0, le=64)
    nearest_step: float | None = Field(default=None, ge=0)
    nearest_cosine: float | None = Field(default=None, ge=-1, le=1)
    like_empty: float | None = Field(default=None, ge=-1, le=1)
    nothing_there: bool = False
    new_object: bool = False
    echo: float = Field(default=0.0, ge=0)
    matched: tuple[Name, ...] = ()


class FrameScreened(EventBody):
    """The verdict on one frame, with all it takes to decide it again.

    `score` and `threshold` are 0..1. `slice` is condition/camera. `budget` is absent where the policy gives the
    threshold. `inclusion_probability` is the chance that this frame's draw would have kept it whatever its score; 1
    where the score or one of the named `rules` kept it. `replayed` says that its unit had been a dead letter before.
    `embedding` is base64 of float16, for frames of the audit. `score_scale` names what made the score: those of another
    one cannot be compared.
    """

    frame_id: Id
    unit_id: Id
    upload_id: Id
    vehicle: Id
    drive: Id
    object: ObjectRef
    captured_at: Moment
    received_at: Moment
    width_px: int = Field(gt=0)
    height_px: int = Field(gt=0)
    verdict: Verdict
    reasons: tuple[VerdictReason, ...] = Field(min_length=1)
    rules: tuple[Name, ...] = ()
    detail: str = ""
    slice: str
    condition: Condition = Condition.UNKNOWN
    models: ModelPair | None = None
    policy_version: Count
    threshold: Unit
    score: Unit | None = None
    score_scale: str = ""
    score_parts: dict[str, float] = Field(default_factory=dict)
    audit: bool = False
    inclusion_probability: Unit = 1.0
    counters: SliceCounters
    replayed: bool = False
    budget: BudgetState | None = None
    measures: FrameMeasures | None = None
    embedding: str = Field(default="", max_length=16_384)
    detections: tuple[Detection, ...] = ()


class KeepRule(EventBody):
    """A named kind of frame that is kept whatever its score: all that is given must hold.

    `class_name` is seen by either model with at least `min_score`; `signal` comes from the vehicle. At most `quota` of
    a tenant's frames are kept by it.
    """

    name: Name
    condition: Condition | None = None
    class_name: Name | None = None
    min_score: Unit = 0.1
    signal: Name | None = None
    quota: Unit = 0.005

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.condition is None and self.class_name is None and self.signal is None:
            raise ValueError("a rule needs a condition, a class_name or a signal: it would take every frame")
        return self


class ErrorPredictor(EventBody):
    """A logistic model of the chance that the serving model errs in a frame, from its score parts.

    Chance = 1 / (1 + exp(-(intercept + sum of weight x part))). A part that a frame has not counts as its mean, so
    `means` has what the fit saw. `fitted_on` and `hard` say on how many audit frames, and how many hard ones they come
    to, and `fitted_until` when the last one was labelled.
    """

    intercept: float
    weights: dict[str, float]
    means: dict[str, float] = Field(default_factory=dict)
    fitted_on: Count = 0
    hard: Count = 0
    fitted_until: Moment | None = None


class EmptyScenes(EventBody):
    """Embeddings of pictures that the audit has shown to be empty, as one network (`eye`) made them."""

    eye: str
    scenes: tuple[str, ...] = Field(max_length=64)


class ScreenPolicy(EventBody):
    """What screening is asked to do for one tenant; a new version replaces the old as a whole.

    `weights` name score parts; `audit_share` of all frames is kept by hash before every rule.
    Where it is `controlled`, each slice's threshold follows from its last scores, so that `keep_budget` of its frames
    are kept, or what `slice_budgets` says of condition/camera, or else of the condition; `threshold` is then for slices
    with too few scores.
    A frame is blurred below `min_laplacian_variance`, or below `blur_ratio` of its camera's usual sharpness (0: never);
    badly exposed outside `brightness`; and a near duplicate at `duplicate_distance` bits or fewer from a frame kept
    before on the same camera (negative: never). With a `duplicate_step` its scene has to be that near as well, as a
    multiple of what usually lies between two pictures of its slice; at half of that it is one whatever its bits. One
    that shows another object is none. Where no model saw anything it is dropped
    if its scene is at least `no_target_cosine` like one of the `empty_scenes`, which the audit has shown to be empty
    (0: never). `class_weights` say how much a class counts, 1 where they do not. A `predictor` takes the place of the
    weights; it is fitted on audit frames, which are hard from `hard_errors` errors of the serving model, and in part
    from fewer. `spread` is how much less a frame counts while others of its drive were just kept, 0 for not at all: a
    drive has many pictures of one mistake; it is for a predictor's chances. Where a `slice_range` is given, slices'
    budgets move within it to where scores are high. Where it is `shared`, all slices have one threshold, which keeps
    `keep_budget` of all frames, but no slice keeps less or more of its frames than the `slice_range`.
    """

    version: Count
    threshold: Unit
    audit_share: Unit = 0.01
    weights: dict[str, float] = Field(default_factory=dict)
    keep_budget: Unit = 0.1
    slice_budgets: dict[str, Unit] = Field(default_factory=dict)
    min_laplacian_variance: float = Field(default=0, ge=0)
    brightness: tuple[Unit, Unit] = (0, 1)
    duplicate_distance: int = Field(default=-1, ge=-1, le=64)
    controlled: bool = False
    blur_ratio: Unit = 0
    duplicate_step: Unit = 0
    no_target_cosine: Unit = 0
    empty_scenes: EmptyScenes | None = None
    class_weights: dict[Name, Annotated[float, Field(ge=0, le=2)]] = Field(default_factory=dict)
    predictor: ErrorPredictor | None = None
    hard_errors: int = Field(default=1, ge=1, le=100)
    spread: float = Field(default=0, ge=0, le=10)
    slice_range: tuple[Unit, Unit] | None = None
    shared: bool = False
    rules: tuple[KeepRule, ...] = Field(default=(), max_length=32)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(names) > len(set(names)):
            raise ValueError("two rules have one name: they would share an allowance")
        return self


class RingSegment(EventBody):
    """Up to 50 of a slice's scores in the order they came, and how many of its frames came meanwhile."""

    number: Count
    received: Count
    scores: tuple[Unit, ...] = ()


class KeepRateState(EventBody):
    """What a slice's keep-rate controller remembers beside its scores; those before segment `first` are forgotten.

    `scale` names what the scores were made by. `reach` are the scores between which a shared threshold may lie here.
    """

    first: Count
    debt: float
    threshold: Unit | None = None
    recent: str = Field(default="", pattern="^[01]{0,150}$")
    scale: str = ""
    reach: tuple[float, float] | None = None


class UsualSharpness(EventBody):
    """A camera's running median of the Laplacian variance, from how many frames, and its last blurred ones in a row."""

    median: float = Field(ge=0)
    seen: Count
    in_a_row: Count


class SceneryState(EventBody):
    """What pictures of a tenant or a slice usually look like to one network.

    `moments` is base64 of mean and variance, float32 [2, D].
    """

    eye: str
    seen: Count
    moments: str = ""


class KeptScene(EventBody):
    """A kept scene of a slice: base64 of a whitened unit vector, float16 [D].

    `shelf` is the number of the first scene that it lies with, `since` that of the oldest one still looked at.
    """

    eye: str
    number: Count
    shelf: Count
    since: Count
    scene: str


class ScreenMemory(EventBody):
    """A changed entry of one partition's memory, internal to screening: rebuilt from the newest entry per key."""

    slice: str | None = None
    counters: SliceCounters | None = None
    camera: str | None = None
    kept_dhashes: tuple[str, ...] = ()
    kept_objects: tuple[dict[str, Count], ...] = ()
    kept_embeddings: tuple[str, ...] = ()
    keep_rate: KeepRateState | None = None
    segment: RingSegment | None = None
    sharpness: UsualSharpness | None = None
    scene_of: str | None = None
    scenery: SceneryState | None = None
    drive: str | None = None
    echo: float | None = None
    latest: str = ""
    stride: float | None = None
    kept_scene: KeptScene | None = None
    tenant: str | None = None
    allowances: dict[str, float] = Field(default_factory=dict)
