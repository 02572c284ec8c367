"""Make a run's candidate: train it from the base version, or fetch what was offered."""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import ModelReleased
from trainer_trigger import dataset, frame_set, training
from trainer_trigger.dataset import Cache
from trainer_trigger.label_table import Label
from trainer_trigger.release import offered_folder
from trainer_trigger.run import Offer, Run
from trainer_trigger.training import Order, Trainer, TrainerFailed

log = structlog.get_logger()
KEEP_OBJECTS_FOR = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where and with what models are made and measured."""

    folder: Path
    cache: Cache
    trainer: Trainer

    def folder_of(self, run_id: str) -> Path:
        return self.folder / "runs" / run_id

    def tidy(self, run_id: str, now: datetime) -> None:
        """Remove a run's folder, and cached objects that nobody asked for in a long time."""
        shutil.rmtree(self.folder_of(run_id), ignore_errors=True)
        self.cache.forget(now - KEEP_OBJECTS_FOR)

    async def unpacked(self, reference: ObjectRef) -> Path:
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
    base_set = await workshop.unpacked(run.spec.base_set)
    written = (folder / "dataset", base_set, labels, pictures, run.spec.label_weight)
    await asyncio.to_thread(dataset.write, *written)
    order = Order(
        dataset=folder / "dataset",
        init=await workshop.cache.get(base.checkpoint),
        out=folder / "candidate",
        seed=run.spec.seed,
        steps=run.spec.steps,
        max_seconds=run.spec.max_seconds,
        architecture=base.card.architecture,
    )
    await training.train(workshop.trainer, order, _tell)
    return order.out


def _tell(line: str) -> None:
    """Log a progress line as the trainer wrote it."""
    log.info("training_progress", progress=line)


async def fetch_offer(workshop: Workshop, run_id: str, offer: Offer) -> Path:
    """Return the folder of an offered model, its files checked against their sha256."""
    files = {"model.onnx": await workshop.cache.get(offer.weights)}
    if offer.checkpoint is not None:
        files["checkpoint.npz"] = await workshop.cache.get(offer.checkpoint)
    return offered_folder(workshop.folder_of(run_id) / "candidate", offer.card, files)
