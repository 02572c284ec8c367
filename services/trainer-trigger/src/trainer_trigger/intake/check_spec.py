"""Check a spec against what is there, before it is stored: what it names must exist and fit the model."""

import asyncio

from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing, ObjectStore
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import DetectorCard
from trainer_trigger.reasons import SpecReason
from trainer_trigger.refusals import BadSet, Unfit
from trainer_trigger.tables.spec import Spec
from trainer_trigger.training import frame_set
from trainer_trigger.training.frame_set import MAX_ZIP_BYTES, FrameSet


async def check_spec(spec: Spec, *, tenant: str, bucket: str, card: DetectorCard | None, store: ObjectStore) -> None:
    """Raise Unfit unless both sets are there, whole, apart from each other, and have the model's classes."""
    if card is None:
        raise Unfit(
            SpecReason.UNKNOWN_MODEL,
            "model",
            "this model has no version yet: release its first one (roadloop models seed)",
        )
    base = await _inspected("base_set", spec.base_set, "train", tenant=tenant, bucket=bucket, store=store)
    validation = await _inspected(
        "validation_set", spec.validation_set, "validation", tenant=tenant, bucket=bucket, store=store
    )
    for field, found in (("base_set", base), ("validation_set", validation)):
        check_classes(field, found.classes, card)
    if not any(line.boxes for line in validation.lines):
        raise Unfit(
            SpecReason.NO_OBJECTS, "validation_set", "has no box on any picture, so nothing can be measured: label it"
        )
    shared = len(base.pictures & validation.pictures)
    if shared:
        detail = f"{shared} pictures are in both sets: what is trained on cannot be measured on, take them out of one"
        raise Unfit(SpecReason.VALIDATION_IN_TRAINING, "validation_set", detail)


def check_classes(field: str, classes: tuple[str, ...], card: DetectorCard) -> None:
    """Raise Unfit unless the classes are the model's, in its order: their numbers are what it learned."""
    if classes != card.classes:
        detail = f"has the classes {', '.join(classes)}, the model has {', '.join(card.classes)}: use these, in order"
        raise Unfit(SpecReason.OTHER_CLASSES, field, detail)


def check_place(field: str, reference: ObjectRef, *, bucket: str, tenant: str) -> None:
    """Raise Unfit unless an object lies in the tenant's own folder of the bucket."""
    if reference.bucket != bucket or not reference.key.startswith(f"{tenant}/") or ".." in reference.key.split("/"):
        detail = f"{reference.uri} is not under s3://{bucket}/{tenant}/: upload it there"
        raise Unfit(SpecReason.FOREIGN_OBJECT, field, detail)


async def fetch(field: str, reference: ObjectRef, store: ObjectStore) -> bytes:
    """Return an object's bytes, or raise Unfit."""
    try:
        return await store.fetch(reference)
    except ObjectMissing as error:
        raise Unfit(SpecReason.OBJECT_MISSING, field, f"{reference.uri} is not there: upload it first") from error
    except ObjectChanged as error:
        raise Unfit(
            SpecReason.OBJECT_CHANGED, field, f"{error}: give the size and sha256 of what was uploaded"
        ) from error


async def _inspected(
    field: str, reference: ObjectRef, split: str, *, tenant: str, bucket: str, store: ObjectStore
) -> FrameSet:
    check_place(field, reference, bucket=bucket, tenant=tenant)
    if reference.size_bytes > MAX_ZIP_BYTES:
        detail = f"{reference.uri} has {reference.size_bytes} bytes, at most {MAX_ZIP_BYTES} are allowed"
        raise Unfit(SpecReason.OBJECT_TOO_LARGE, field, detail)
    content = await fetch(field, reference, store)
    try:
        return await asyncio.to_thread(frame_set.inspect, content, split)
    except BadSet as error:
        raise Unfit(error.reason, field, str(error)) from error
