"""Policies: what screening is asked to do for a tenant."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from roadloop_schemas.fields import Condition, Count, Embedding, EventBody, Moment, Name, Unit


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
    def _refuse_empty(self) -> Self:
        if self.condition is None and self.class_name is None and self.signal is None:
            raise ValueError("a rule needs a condition, a class_name or a signal: it would take every frame")
        return self


class ErrorPredictor(EventBody):
    """A logistic model of the chance that the serving model errs in a frame, from its score parts.

    Chance = 1 / (1 + exp(-(intercept + that of the frame's condition + sum of weight x part))). A part that a frame has
    not counts as its mean, so `means` has what the fit saw; a condition that is not in `conditions` adds nothing.
    `fitted_on` and `hard` say on how many audit frames, and how many hard ones they come to, and `fitted_until` when
    the last one was labelled.
    """

    intercept: float
    weights: dict[str, float]
    means: dict[str, float] = Field(default_factory=dict)
    conditions: dict[Condition, float] = Field(default_factory=dict)
    fitted_on: Count = 0
    hard: Count = 0
    fitted_until: Moment | None = None


class EmptyScenes(EventBody):
    """Embeddings of pictures that the audit has shown to be empty, as one network (`eye`) made them."""

    eye: str
    scenes: tuple[Embedding, ...] = Field(max_length=64)


class ScreenPolicy(EventBody):
    """What screening is asked to do for one tenant; a new version replaces the old as a whole.

    `weights` name score parts; `audit_share` of all frames is kept by hash before every rule.
    Where it is `controlled`, each slice's threshold follows from its last scores, so that `keep_budget` of its frames
    are kept, or what `slice_budgets` says of condition/camera, or else of the condition; `threshold` is then for slices
    with too few scores.
    A frame is blurred below `min_laplacian_variance`, or below `blur_ratio` of its camera's usual sharpness (0: never);
    badly exposed outside `brightness`; and a near duplicate at `duplicate_distance` bits or fewer from a frame kept
    before on the same camera (negative: never). With a `duplicate_step` its scene has to be that near as well, as a
    multiple of what usually lies between two pictures of its slice; at half of that it is one whatever its bits. With a
    `duplicate_light` it is none either where its brightness differs by more than that from the last kept frame's. One
    that shows another object is none. Where no model saw anything it is dropped
    if its scene is at least `no_target_cosine` like one of the `empty_scenes`, which the audit has shown to be empty
    (0: never). `class_weights` say how much a class counts, 1 where they do not. A `predictor` takes the place of the
    weights; it is fitted on audit frames, which are hard from `hard_errors` errors of the serving model, and in part
    from fewer. `spread` is how much less a frame counts while hard ones of its drive were just kept, 0 for not at all:
    a drive has many pictures of one mistake; only a predictor's chances are spread. Where a `slice_range` is given,
    slices' budgets move within it to where scores are high. Where it is `shared`, all slices have one threshold, which
    keeps `keep_budget` of all frames, but no slice keeps less or more of its frames than the `slice_range`.
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
    duplicate_light: Unit = 0
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
    def _check_range(self) -> Self:
        if self.slice_range is not None and self.slice_range[0] > self.slice_range[1]:
            raise ValueError("slice_range: the least share comes first, then the most")
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(names) > len(set(names)):
            raise ValueError("two rules have one name: they would share an allowance")
        return self
