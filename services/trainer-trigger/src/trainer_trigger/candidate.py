"""Make a run's candidate: train it from the base version, or fetch what was offered."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import ModelReleased
from trainer_trigger import dataset, frame_set, training
from trainer_trigger.dataset import Cache
from trainer_trigger.label_table import Label
from trainer_trigger.release import offered_folder
from trainer_trigger.run_table import Offer, Run
from trainer_trigger.training import Order, Trainer, TrainerFailed

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where and with what models are made and measured."""

    folder: Path
    cache: Cache
    trainer: Trainer

    def folder_of(self, run_id: str) -> Path:
        return self.folder / "runs" / run_id

    async def unpacked(self, reference: ObjectRef) -> Path:
        """Return the folder of a base or validation set, unpacked once."""
        folder = self.folder / "sets" / reference.sha256
        if not folder.is_dir():
            frame_set.unpack((await self.cache.get(reference)).read_bytes(), folder)
        return folder


async def train(
    workshop: Workshop, run: Run, base: ModelReleased, *, labels: list[Label], pictures: dict[str, Path]
) -> Path:
    """Return the folder of a newly trained model. Raises TrainerFailed."""
    if base.checkpoint is None:
        raise TrainerFailed(f"version {base.version} has no checkpoint to start from: offer a model that has one")
    folder = workshop.folder_of(run.run_id)
    base_set = await workshop.unpacked(run.spec.base_set)
    dataset.write(folder / "dataset", base_set, labels, pictures, run.spec.label_weight)
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


def _tell(progress: Mapping[str, Any]) -> None:
    log.info("training_progress", **{f"at_{name}": value for name, value in progress.items()})


async def fetch_offer(workshop: Workshop, run_id: str, offer: Offer) -> Path:
    """Return the folder of an offered model, its files checked against their sha256."""
    files = {"model.onnx": await workshop.cache.get(offer.weights)}
    if offer.checkpoint is not None:
        files["checkpoint.npz"] = await workshop.cache.get(offer.checkpoint)
    return offered_folder(workshop.folder_of(run_id) / "candidate", offer.card, files)
