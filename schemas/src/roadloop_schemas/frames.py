"""Frames: what ingest measured, and what screening decided."""

from enum import StrEnum

from pydantic import Field

from roadloop_schemas.fields import (
    EMBEDDING_TEXT,
    Condition,
    Count,
    Detection,
    Embedding,
    EventBody,
    Id,
    Moment,
    Name,
    ObjectRef,
    Unit,
)


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
    `light_change` is by how much its brightness differs from that of its camera's last kept frame.
    `like_empty` is its likeness to scenes that the audit has shown to be empty; `nothing_there` says that no model saw
    anything in it or in its neighbours. `new_object`: it shows one more object than that nearest kept frame. `matched`
    are the rules that would keep it, within their quotas or not. `echo` is how many hard frames of its camera's drive
    were kept a short while ago, by their chances, each faded by its age. `versions` of the model have thresholds that
    count: first the one that scored the frame, then those that stand in while it has none. By `dhash`, brightness, the
    verdict's `embedding` and the objects of each class that are `surely` in it (from a score of 0.5) or `perhaps`
    (0.2), later frames are compared with this one.
    """

    lot: Unit
    brightness: Unit
    laplacian_variance: float = Field(ge=0)
    nearest_bits: int | None = Field(default=None, ge=0, le=64)
    nearest_step: float | None = Field(default=None, ge=0)
    nearest_cosine: float | None = Field(default=None, ge=-1, le=1)
    light_change: Unit | None = None
    like_empty: float | None = Field(default=None, ge=-1, le=1)
    nothing_there: bool = False
    new_object: bool = False
    echo: float = Field(default=0.0, ge=0)
    matched: tuple[Name, ...] = ()
    versions: tuple[Count, ...] = ()
    dhash: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$")
    surely: dict[str, Count] = Field(default_factory=dict)
    perhaps: dict[str, Count] = Field(default_factory=dict)


class ShadowVerdict(EventBody):
    """What a version that is on its way would have made of a frame; `failure` says why it gave no answer."""

    version: Count
    kept: bool = False
    score: Unit | None = None
    score_parts: dict[str, float] = Field(default_factory=dict)
    failure: str = ""


class FrameScreened(EventBody):
    """The verdict on one frame, with all it takes to decide it again.

    `score` and `threshold` are 0..1. `slice` is condition/camera. `budget` is absent where the policy gives the
    threshold. `inclusion_probability` is the chance that this frame's draw would have kept it whatever its score; 1
    where the score or one of the named `rules` kept it. `replayed` says that its unit had been a dead letter before.
    `embedding` is base64 of float16, by which frames are compared. `score_scale` names what made the score: those of
    another one cannot be compared. Detections from `prelabel_from` on are what annotators are to see: the release of
    the version that judged says so.
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
    embedding: Embedding = Field(default="", max_length=EMBEDDING_TEXT)
    detections: tuple[Detection, ...] = ()
    prelabel_from: Unit | None = None
    shadow: ShadowVerdict | None = None
