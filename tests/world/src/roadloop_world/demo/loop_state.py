"""What an onlooker knows of the loop: every event, figure and training step folded in as it comes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from roadloop_runtime.records import Record
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.models import ModelServing, ServingState, TrainingChanged, TrainingState

VERDICTS, TRAININGS, SERVING = "frames.screened.v1", "trainings.changed.v1", "models.serving.v1"
STYLES = {TrainingState.RELEASED: "green", TrainingState.FAILED: "red"}
ENDED = (TrainingState.RELEASED, TrainingState.REFUSED, TrainingState.FAILED)


@dataclass(frozen=True, slots=True)
class ScreenedFrame:
    """One verdict, whose frame it is, and when it was written, in milliseconds since 1970."""

    tenant: str
    verdict: FrameScreened
    written_ms: int


class Stage(NamedTuple):
    """What serves from a moment on (ms since 1970), and how the version on its way, `tried`, is tried."""

    name: str
    version: int
    tried: int | None
    since_ms: int


class News(NamedTuple):
    """A line for people, and its colour: red is what should not be."""

    line: str
    style: str = ""


@dataclass
class LoopState:
    """The loop as it was seen so far. `moves` grows with whatever happens; `last` says what that was."""

    verdicts: list[ScreenedFrame] = field(default_factory=list)
    runs: dict[str, list[TrainingChanged]] = field(default_factory=dict)  # by run, each change
    stages: dict[str, list[Stage]] = field(default_factory=dict)  # by model
    refused_releases: list[ModelServing] = field(default_factory=list)
    books: Mapping[str, Any] = field(default_factory=dict)
    steps: list[Mapping[str, Any]] = field(default_factory=list)  # of trainings, as trainer-trigger logs them
    moves: int = 0
    last: str = "nothing yet"

    def take(self, record: Record) -> News | None:
        """Fold an event in; return what people are told of it, where it is worth a line."""
        taken = {VERDICTS: self._take_verdict, TRAININGS: self._take_training, SERVING: self._take_serving}
        return taken[record.topic](record)

    def take_books(self, books: Mapping[str, Any]) -> None:
        """Fold ingest's figures in; only what differs is a move."""
        if books != self.books:
            self.books = books
            self._note_move(f"the books: {books.get('ingested', 0)} frames ingested, {self.in_flight} in flight")

    def take_step(self, logged: Mapping[str, Any]) -> None:
        """Fold a line of a training's progress in."""
        self.steps.append(logged)
        self._note_move(f"training {logged.get('run_id', '')[:6]}: {logged.get('phase')}, step {logged.get('step')}")

    def _take_verdict(self, record: Record) -> None:
        tenant = dict(record.headers)["ce_tenant"].decode()
        verdict = FrameScreened.model_validate_json(record.value or b"")
        self.verdicts.append(ScreenedFrame(tenant, verdict, record.timestamp))
        self._note_move(f"a verdict: frame {verdict.frame_id[:8]} {verdict.verdict}")

    def _take_training(self, record: Record) -> News | None:
        run = TrainingChanged.model_validate_json(record.value or b"")
        self.runs.setdefault(run.run_id, []).append(run)
        self._note_move(f"{name_of(run)}: {run.state}")
        if run.state is TrainingState.RUNNING or (run.state is TrainingState.QUEUED and run.revision):
            return None  # an event for each 5,000 frames, and a start that its progress tells
        return News(describe_run(run), STYLES.get(run.state, ""))

    def _take_serving(self, record: Record) -> News:
        serving = ModelServing.model_validate_json(record.value or b"")
        if serving.state is not ServingState.SERVING:
            self.refused_releases.append(serving)
            self._note_move(f"{serving.model}: version {serving.version} refused by screening")
            return News(f"screening refused version {serving.version} of {serving.model}: {serving.detail}", "red")
        stage = stage_of(serving, record.timestamp)
        self.stages.setdefault(serving.model, []).append(stage)
        self._note_move(f"{serving.model}: {stage.name}")
        return News(f"{serving.model}: {stage.name}")

    def _note_move(self, what: str) -> None:
        self.moves, self.last = self.moves + 1, what

    @property
    def in_flight(self) -> int:
        """How many files and frames have no fate yet, as the books say."""
        open_files = self.books.get("files", {}).get("open", 0)
        return int(open_files + self.books.get("frames", {}).get("in_flight", 0))

    def serving_version_of(self, model: str) -> int:
        """The version that serves; 0 where none does."""
        return self.stages[model][-1].version if model in self.stages else 0

    def is_tried(self, model: str) -> bool:
        """Whether a version is on its way."""
        return model in self.stages and self.stages[model][-1].tried is not None

    def list_newest_runs(self, *, offered: bool) -> list[TrainingChanged]:
        """Every run as it is now, of offered models or of trainings, the oldest first."""
        return [changes[-1] for changes in self.runs.values() if (changes[-1].labels == 0) == offered]

    def list_ended_runs(self, *, offered: bool) -> list[TrainingChanged]:
        return [run for run in self.list_newest_runs(offered=offered) if run.state in ENDED]


def name_of(run: TrainingChanged) -> str:
    """Name a run for people: an offered model has no labels of ours."""
    return f"{'training' if run.labels else 'offer'} {run.run_id[:6]}"


def describe_run(run: TrainingChanged) -> str:
    """Say what became of a run, with the gate's or the trainer's reasons."""
    match run.state:
        case TrainingState.EVALUATED:
            return f"{name_of(run)} is measured: mean mAP {run.metrics['map50']:.3f} ({run.metrics['gain']:+.3f})"
        case TrainingState.RELEASED:
            return f"{name_of(run)} passed its gate: released as version {run.candidate_version}"
        case TrainingState.REFUSED:
            return f"{name_of(run)} was refused by the gate: {run.detail}"
        case TrainingState.FAILED:
            return f"{name_of(run)} failed: {run.detail}"
    labels = f", {run.labels} labels" if run.labels else ""
    return f"{name_of(run)} is {run.state}{labels}"


def stage_of(serving: ModelServing, at_ms: int) -> Stage:
    """Return what was said of a model's serving as a stage."""
    tried = serving.candidate
    name = f"version {serving.version} serves" if tried is None else f"version {tried.version} {tried.in_words}"
    return Stage(name, serving.version, tried.version if tried else None, at_ms)


def select_loss_curve(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the steps of the training that was logged last, those that have a loss."""
    with_loss = [step for step in steps if step.get("loss") is not None]
    return [step for step in with_loss if step.get("run_id") == with_loss[-1].get("run_id")]


def describe_training(step: Mapping[str, Any]) -> str:
    """Say where a training is."""
    if step.get("loss") is None:
        return f"training: {step.get('phase')}"
    remaining = f", about {step['left_s']:.0f} s left" if step.get("left_s") else ""
    return f"training: {step['phase']}, step {step['step']} of {step['steps']}, loss {step['loss']:.3f}{remaining}"
