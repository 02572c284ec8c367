"""What a researcher asks for: data, effort, and the gate a new version has to pass."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from roadloop_schemas.fields import ObjectRef


class GatePolicy(BaseModel):
    """When a candidate may go live. Figures are mean average precision at overlap 0.5, in 0..1.

    min_gain: by how much the mean over conditions must grow.
    max_condition_loss: by how much any one condition may shrink.
    min_confidence: how sure it must be that the mean grew at all, by resampling groups of frames; 0 does not ask.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_gain: float = Field(default=0.003, ge=-1, le=1)
    max_condition_loss: float = Field(default=0.02, ge=0, le=1)
    min_confidence: float = Field(default=0.0, ge=0, lt=1)


HANG_AFTER_S = 600.0
INSTEAD = "seconds end no training any more, steps do: this is taken as hang_after_s, but for no less than 600"


class Spec(BaseModel):
    """One training task, for one model.

    min_labels: so many new labels since the last run's dataset start a run.
    steps, patience: a training ends after so many steps, or where `patience` is not 0, after so many evaluations on
    a held-out tenth of its data without a smaller loss. How fast the machine is never decides.
    hang_after_s: a training in which nothing has moved for so long hangs: the run fails, and nothing is handed on.
    label_weight: how often a labelled frame is seen, relative to a frame of the base set.
    max_seconds: what older specs have. It ended a training early; now it stands for `hang_after_s`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_labels: int = Field(gt=0, le=20_000)
    base_set: ObjectRef
    validation_set: ObjectRef
    steps: int = Field(gt=0, le=1_000_000)
    patience: int = Field(default=0, ge=0, le=10_000)
    hang_after_s: float = Field(default=HANG_AFTER_S, ge=1, le=24 * 3600)
    max_seconds: float | None = Field(default=None, gt=0, le=7 * 24 * 3600, exclude=True, deprecated=INSTEAD)
    seed: int = Field(default=1, ge=0, lt=2**31)
    label_weight: float = Field(default=3.0, gt=0, le=5)
    cooldown_s: float = Field(default=60.0, ge=0, le=30 * 24 * 3600)
    gate: GatePolicy = GatePolicy()

    @property
    def has_old_limit(self) -> bool:
        """Say whether this was written as an older spec: whoever wrote it is told."""
        return "max_seconds" in self.model_fields_set

    @model_validator(mode="before")
    @classmethod
    def _take_old_limit(cls, fields: Any) -> Any:
        """Read an older spec: a limit that was meant for the whole of a training is too short for no patience."""
        if not isinstance(fields, dict) or "hang_after_s" in fields:
            return fields
        old = fields.get("max_seconds")
        if isinstance(old, int | float) and old > 0:
            return {**fields, "hang_after_s": min(max(old, HANG_AFTER_S), 24 * 3600.0)}
        return fields
