"""What was read, as plain values. Times are seconds since 1970."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One committed record. `body` is its JSON, empty where it has none; `replayed` says that it was a dead letter."""

    topic: str
    partition: int
    offset: int
    at: float
    source: str
    id: str
    tenant: str
    body: Mapping[str, Any]
    replayed: bool = False

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class Topic:
    """What is left of a topic, and from when on everything should be there. `gone` are the offsets deleted early."""

    name: str
    records: Sequence[Event]
    whole_since: float = 0.0
    gone: Sequence[str] = ()


class Frame(NamedTuple):
    """A row of ingest's frames."""

    frame_id: str
    unit_id: str
    fate: str
    received_at: float


class Upload(NamedTuple):
    """A row of ingest's uploads, with how many of its files have a fate of their own, and how many were accepted."""

    tenant: str
    upload_id: str
    announced: int
    admitted: bool
    fated: int
    accepted: int
    frames: int


class Task(NamedTuple):
    """A row of label-router's tasks."""

    task_id: str
    frame_id: str
    state: str
    labels: int
    requested_at: float


class Label(NamedTuple):
    """A row of label-router's labels."""

    task_id: str
    label_version: int
    completed_at: float


class Stored(NamedTuple):
    """A row of trainer-trigger's labels."""

    frame_id: str
    label_version: int


class Run(NamedTuple):
    """A row of trainer-trigger's trainings."""

    run_id: str
    model: str
    dataset_id: str


class Lag(NamedTuple):
    """How far a group is behind in one partition."""

    group: str
    topic: str
    partition: int
    records: int


@dataclass(frozen=True)
class Facts:
    """Everything, read downstream first: the cause of whatever was read is among what was read later."""

    read_at: float
    stored: Sequence[Stored]
    runs: Sequence[Run]
    completed: Topic
    labels: Sequence[Label]
    tasks: Sequence[Task]
    requested: Topic
    screened: Topic
    dead_units: Topic
    ingested: Topic
    frames: Sequence[Frame]
    uploads: Sequence[Upload]
    others: Sequence[Topic]
    missing_objects: Mapping[str, str]
    lags: Sequence[Lag]
