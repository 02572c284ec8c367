"""Make a run's candidate: train it from the base version, or fetch what was offered."""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import ModelReleased
from trainer_trigger.tables.label_table import Label
from trainer_trigger.tables.run import Offer, Run
from trainer_trigger.training import dataset, frame_set, trainer_process
from trainer_trigger.training.object_cache import ObjectCache
from trainer_trigger.training.release import offered_folder
from trainer_trigger.training.trainer_process import Order, Progress, Trainer, TrainerFailed

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where and with what models are made and measured."""

    folder: Path
    cache: ObjectCache
    trainer: Trainer

    def folder_of(self, run_id: str) -> Path:
        return self.folder / "runs" / run_id

    def tidy(self, run_id: str, now: datetime) -> None:
        """Remove a run's folder, and cached objects that nobody asked for in a long time."""
        shutil.rmtree(self.folder_of(run_id), ignore_errors=True)
        self.cache.forget_unused(now)

    async def unpack(self, reference: ObjectRef) -> Path:
        """Return the folder of a base or validation set, unpacked once."""
        folder = self.folder / "sets" / reference.sha256
        if not _is_there(folder):
            path = await self.cache.get(reference)
            await asyncio.to_thread(frame_set.unpack, path, folder)
        return folder


def _is_there(folder: Path) -> bool:
    return folder.is_dir()


async def train(
    workshop: Workshop, run: Run, base: ModelReleased, *, labels: list[Label], pictures: dict[str, Path]
) -> Path:
    """Return the folder of a newly trained model. Raises TrainerFailed."""
    if base.checkpoint is None:
        raise TrainerFailed(f"version {base.version} has no checkpoint to start from: offer a model that has one")
    folder = workshop.folder_of(run.run_id)
    base_set = await workshop.unpack(run.spec.base_set)
    written = (folder / "dataset", base_set, labels, pictures, run.spec.label_weight)
    await asyncio.to_thread(dataset.write, *written)
    order = Order(
        dataset=folder / "dataset",
        init=await workshop.cache.get(base.checkpoint),
        out=folder / "candidate",
        seed=run.spec.seed,
        steps=run.spec.steps,
        patience=run.spec.patience,
        hang_after_s=run.spec.hang_after_s,
        architecture=base.card.architecture,
    )
    await trainer_process.train(workshop.trainer, order, ProgressLog())
    return order.out


class ProgressLog:
    """Log where a training is: each phase, and each hundredth of its steps."""

    def __init__(self) -> None:
        self._phase, self._step = "", 0

    def __call__(self, progress: Progress) -> None:
        phase, step, steps = (progress.get(name) for name in ("phase", "step", "steps"))
        step, steps = (number if isinstance(number, int) else 0 for number in (step, steps))
        if phase != self._phase or step - self._step >= max(1, steps // 100):
            self._phase, self._step = str(phase), step
            loss, left_s = progress.get("loss"), progress.get("left_s")
            log.info("training_progress", phase=phase, step=step, steps=steps, loss=loss, left_s=left_s)


async def fetch_offer(workshop: Workshop, run_id: str, offer: Offer) -> Path:
    """Return the folder of an offered model, its files checked against their sha256."""
    files = {"model.onnx": await workshop.cache.get(offer.weights)}
    if offer.checkpoint is not None:
        files["checkpoint.npz"] = await workshop.cache.get(offer.checkpoint)
    return offered_folder(workshop.folder_of(run_id) / "candidate", offer.card, files)
