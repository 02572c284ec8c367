"""The topics: one YAML file each says who writes, who reads, and how it is kept."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from roadloop_schemas import frames, labels, memory, models, policies, uploads
from roadloop_schemas.fields import EventBody

# Their names, for who writes and reads them; a test holds them to the files.
FRAMES_INGESTED = "frames.ingested.v1"
FRAMES_SCREENED = "frames.screened.v1"
INGEST_OUTBOX = "ingest.outbox.v1"
LABELS_COMPLETED = "labels.completed.v1"
LABELS_REQUESTED = "labels.requested.v1"
MODELS_RELEASED = "models.released.v1"
MODELS_SERVING = "models.serving.v1"
RUNTIME_MEMBERS = "runtime.members.v1"
RUNTIME_REPLAYS = "runtime.replays.v1"
SCREEN_MEMORY = "screen.memory.v1"
SCREEN_POLICY = "screen.policy.v1"
SCREEN_SCORES = "screen.scores.v1"
SCREEN_VIEW = "screen.view.v1"
TRAININGS_CHANGED = "trainings.changed.v1"
UPLOADS_COMPLETED = "uploads.completed.v1"
UPLOADS_FATE = "uploads.fate.v1"

DEAD_LETTER_RETENTION_HOURS = 24 * 28

EVENTS: Mapping[str, type[EventBody]] = MappingProxyType(
    {
        body.__name__: body
        for body in (
            uploads.UploadCompleted,
            uploads.UploadFate,
            frames.FramesIngested,
            frames.FrameScreened,
            policies.ScreenPolicy,
            memory.ScreenMemory,
            labels.LabelRequested,
            labels.LabelCompleted,
            models.TrainingChanged,
            models.ModelReleased,
            models.ModelServing,
            models.DemandChanged,
        )
    }
)


class Topic(BaseModel):
    """One topic as its YAML file describes it.

    `groups` are the consumer groups of our own loops; each has a dead-letter topic beside this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z.-]*\.v\d+$")
    description: str
    owner: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    key: str
    event: str | None = None
    partitions: int = Field(ge=1, le=1024)
    retention_hours: int = Field(ge=-1)
    cleanup: Literal["delete", "compact", "compact,delete"] = "delete"
    compatibility: Literal["BACKWARD_TRANSITIVE", "NONE"] = "BACKWARD_TRANSITIVE"
    public: bool = True

    @property
    def body(self) -> type[EventBody] | None:
        return EVENTS[self.event] if self.event else None


@cache
def read_topic_files() -> Mapping[str, Topic]:
    """Read every topic file, sorted by name."""
    sources = sorted((f for f in files(__package__).joinpath("topics").iterdir() if f.name.endswith(".yaml")), key=str)
    topics = [Topic.model_validate(yaml.safe_load(source.read_text())) for source in sources]
    return MappingProxyType({topic.name: topic for topic in sorted(topics, key=lambda topic: topic.name)})


def name_dead_letter_topic(group: str, topic: str) -> str:
    """Name the topic that takes what a group can never handle of a topic."""
    return f"dlq.{group}.{topic}"
