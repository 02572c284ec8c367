"""Settings of the rollout process."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from screen.rollout.stages import Plan
from screen.settings import TritonSettings

CAREFUL = Plan()


class RolloutSettings(TritonSettings):
    """Of the rollout process: it alone may write the model repository.

    `model_instances` is for each model: the cores to run it on, or the instances on each GPU. `model_kind` is `auto`
    (the GPUs that the model server sees, else the CPU), `cpu` or `gpu`. The rest says how carefully a new version comes
    to serve (`stages.py`): `rollout_shares` as [0.1, 0.5], and with a `rollout_patience_s` of 0 it serves at once.
    """

    model_repository: Path
    model_instances: int = Field(default=2, ge=1, le=64)
    model_kind: Literal["auto", "cpu", "gpu"] = "auto"
    rollout_shadow: float = Field(default=CAREFUL.shadow, ge=0, le=1)
    rollout_shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = CAREFUL.shares
    rollout_frames: int = Field(default=CAREFUL.frames, ge=1)
    rollout_patience_s: float = Field(default=CAREFUL.patience_s, ge=0)

    @field_validator("rollout_shares")
    @classmethod
    def _check_order(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(set(shares)):
            raise ValueError("shares rise from stage to stage, as in [0.1, 0.5]")
        return shares

    @property
    def plan(self) -> Plan:
        """Return how carefully a new version comes to serve."""
        if not self.rollout_patience_s:
            return Plan(shadow=0, shares=())
        return Plan(self.rollout_shadow, self.rollout_shares, self.rollout_frames, self.rollout_patience_s)
