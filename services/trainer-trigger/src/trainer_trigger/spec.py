"""What a researcher asks for: data, effort, and the gate a new version has to pass."""

from pydantic import BaseModel, ConfigDict, Field

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


class Spec(BaseModel):
    """One training task, for one model.

    min_labels: so many new labels since the last run's dataset start a run.
    label_weight: how often a labelled frame is seen, relative to a frame of the base set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_labels: int = Field(gt=0, le=20_000)
    base_set: ObjectRef
    validation_set: ObjectRef
    steps: int = Field(gt=0, le=1_000_000)
    max_seconds: float = Field(gt=0, le=7 * 24 * 3600)
    seed: int = Field(default=1, ge=0, lt=2**31)
    label_weight: float = Field(default=3.0, gt=0, le=5)
    cooldown_s: float = Field(default=60.0, ge=0, le=30 * 24 * 3600)
    gate: GatePolicy = GatePolicy()
