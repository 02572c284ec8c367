"""A run: one candidate's way from the queue to its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import DetectorCard, TrainingState
from trainer_trigger.tables.spec import Spec


class Kind(StrEnum):
    """Where a candidate comes from."""

    TRAINING = "training"
    OFFER = "offer"


class Offer(BaseModel):
    """A model that somebody made elsewhere. `checkpoint` is what later trainings start from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: ObjectRef
    checkpoint: ObjectRef | None = None
    card: DetectorCard


@dataclass(frozen=True, slots=True)
class Run:
    """One way of one candidate from the queue to its end. `spec` is the one that held when it was queued."""

    run_id: str
    tenant: str
    model: str
    kind: Kind
    dataset_id: str
    base_version: int
    labels: int
    spec: Spec
    queued_at: datetime
    changed_at: datetime
    offer: Offer | None = None
    state: TrainingState = TrainingState.QUEUED
    revision: int = 0
    candidate_version: int | None = None
    detail: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
