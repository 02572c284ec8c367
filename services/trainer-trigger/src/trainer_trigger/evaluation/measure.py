"""Measure a candidate beside what serves, on the same fixed validation set."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roadloop_schemas.models import ModelReleased
from trainer_trigger.evaluation import average_precision
from trainer_trigger.evaluation.gate import Report
from trainer_trigger.evaluation.paired_bootstrap import confidence
from trainer_trigger.tables.run import Run
from trainer_trigger.training import frame_set, trainer_process
from trainer_trigger.training.candidate import Workshop
from trainer_trigger.training.release import offered_folder, read_card
from trainer_trigger.training.trainer_process import TrainerFailed

SPLIT = "validation"


@dataclass(frozen=True, slots=True)
class Measured:
    """Both reports, and how sure the difference is."""

    serving: Report
    candidate: Report
    confidence: float

    @property
    def metrics(self) -> dict[str, float]:
        """The figures under the names that events and the API use."""
        gain = self.candidate.mean - self.serving.mean
        return {
            **_named("map50", self.candidate),
            **_named("serving.map50", self.serving),
            "gain": round(gain, 6),
            "confidence": self.confidence,
        }

    @property
    def table(self) -> dict[str, object]:
        """What people compare: per condition the figure of what serves, the candidate's, and the change."""
        rows = {"mean": (self.serving.mean, self.candidate.mean)} | {
            condition: (before, self.candidate.conditions[condition])
            for condition, before in sorted(self.serving.conditions.items())
            if condition in self.candidate.conditions
        }
        shown = {name: f"{before:.3f} -> {after:.3f} ({after - before:+.3f})" for name, (before, after) in rows.items()}
        return {"map50": shown, "confidence": round(self.confidence, 3)}


def _named(name: str, report: Report) -> Mapping[str, float]:
    per_condition = {f"{name}.{condition}": round(score, 6) for condition, score in report.conditions.items()}
    return {name: round(report.mean, 6), **per_condition}


async def measure(workshop: Workshop, run: Run, serving: ModelReleased, folder: Path) -> Measured:
    """Let both models predict, then compare them. Raises TrainerFailed or BadSet."""
    card = read_card(folder)
    if card.classes != serving.card.classes:
        raise TrainerFailed(f"the candidate has the classes {', '.join(card.classes)}, which are not the model's")
    validation = await workshop.unpack(run.spec.validation_set)
    candidate_out = workshop.folder_of(run.run_id) / "candidate.jsonl"
    guard = run.spec.hang_after_s
    await trainer_process.predict(workshop.trainer, folder, validation, SPLIT, out=candidate_out, hang_after_s=guard)
    serving_out = await _predict_serving(workshop, run, serving, validation)
    return await asyncio.to_thread(_compare, validation, serving_out, candidate_out, run.spec.seed)


async def _predict_serving(workshop: Workshop, run: Run, serving: ModelReleased, validation: Path) -> Path:
    """Predict once per version and validation set: neither ever changes."""
    out = workshop.folder / "predictions" / run.spec.validation_set.sha256 / f"{serving.weights.sha256}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    files = {"model.onnx": await workshop.cache.get(serving.weights)}
    model = offered_folder(workshop.folder_of(run.run_id) / "serving", serving.card, files)
    await trainer_process.predict(
        workshop.trainer, model, validation, SPLIT, out=out, hang_after_s=run.spec.hang_after_s
    )
    return out


def _compare(validation: Path, serving_out: Path, candidate_out: Path, seed: int) -> Measured:
    classes = frame_set.read_classes(validation)
    text = (validation / f"{SPLIT}.jsonl").read_text()
    lines = frame_set.parse_lines(text, SPLIT, classes)
    try:
        serving, candidate = average_precision.read_found(serving_out), average_precision.read_found(candidate_out)
    except (ValueError, KeyError, TypeError) as error:
        raise TrainerFailed(f"what the trainer predicted cannot be read: {error!r}") from error
    return Measured(
        average_precision.report(lines, serving, classes),
        average_precision.report(lines, candidate, classes),
        confidence(lines, serving, candidate, classes, seed=seed),
    )
