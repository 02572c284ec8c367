"""Check a spec against what is there, before it is stored: what it names must exist and fit the model."""

import asyncio
from enum import StrEnum

from roadloop_runtime.service.problems import Problem
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing, ObjectStore
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import DetectorCard
from trainer_trigger.tables.spec import Spec
from trainer_trigger.training import frame_set
from trainer_trigger.training.frame_set import MAX_ZIP_BYTES, BadSet, FrameSet


class Fault(StrEnum):
    """Why a spec or an offer fits nothing. Faults of a set itself are in `frame_set.py`."""

    UNKNOWN_MODEL = "unknown_model"
    NO_SPEC = "no_spec"
    FOREIGN_OBJECT = "foreign_object"
    OBJECT_MISSING = "object_missing"
    OBJECT_CHANGED = "object_changed"
    OBJECT_TOO_LARGE = "object_too_large"
    OTHER_CLASSES = "other_classes"
    NO_OBJECTS = "no_objects"
    VALIDATION_IN_TRAINING = "validation_in_training"
    NOTHING_SERVES = "nothing_serves"


class Unfit(Problem):
    """A spec or an offer is refused. `reason` is one of the faults; the text says what, where and what to do."""

    def __init__(self, reason: StrEnum, field: str, detail: str) -> None:
        super().__init__(422, reason.value, detail, more={"field": field})
        self.reason = reason
        self.field = field


async def check_spec(spec: Spec, *, tenant: str, bucket: str, card: DetectorCard | None, store: ObjectStore) -> None:
    """Raise Unfit unless both sets are there, whole, apart from each other, and have the model's classes."""
    if card is None:
        raise Unfit(
            Fault.UNKNOWN_MODEL, "model", "this model has no version yet: release its first one (roadloop models seed)"
        )
    base = await _inspected("base_set", spec.base_set, "train", tenant=tenant, bucket=bucket, store=store)
    validation = await _inspected(
        "validation_set", spec.validation_set, "validation", tenant=tenant, bucket=bucket, store=store
    )
    for field, found in (("base_set", base), ("validation_set", validation)):
        check_classes(field, found.classes, card)
    if not any(line.boxes for line in validation.lines):
        raise Unfit(
            Fault.NO_OBJECTS, "validation_set", "has no box on any picture, so nothing can be measured: label it"
        )
    shared = len(base.pictures & validation.pictures)
    if shared:
        detail = f"{shared} pictures are in both sets: what is trained on cannot be measured on, take them out of one"
        raise Unfit(Fault.VALIDATION_IN_TRAINING, "validation_set", detail)


def check_classes(field: str, classes: tuple[str, ...], card: DetectorCard) -> None:
    """Raise Unfit unless the classes are the model's, in its order: their numbers are what it learned."""
    if classes != card.classes:
        detail = f"has the classes {', '.join(classes)}, the model has {', '.join(card.classes)}: use these, in order"
        raise Unfit(Fault.OTHER_CLASSES, field, detail)


def check_place(field: str, reference: ObjectRef, *, bucket: str, tenant: str) -> None:
    """Raise Unfit unless an object lies in the tenant's own folder of the bucket."""
    if reference.bucket != bucket or not reference.key.startswith(f"{tenant}/") or ".." in reference.key.split("/"):
        detail = f"{reference.uri} is not under s3://{bucket}/{tenant}/: upload it there"
        raise Unfit(Fault.FOREIGN_OBJECT, field, detail)


async def fetch(field: str, reference: ObjectRef, store: ObjectStore) -> bytes:
    """Return an object's bytes, or raise Unfit."""
    try:
        return await store.fetch(reference)
    except ObjectMissing as error:
        raise Unfit(Fault.OBJECT_MISSING, field, f"{reference.uri} is not there: upload it first") from error
    except ObjectChanged as error:
        raise Unfit(Fault.OBJECT_CHANGED, field, f"{error}: give the size and sha256 of what was uploaded") from error


async def _inspected(
    field: str, reference: ObjectRef, split: str, *, tenant: str, bucket: str, store: ObjectStore
) -> FrameSet:
    check_place(field, reference, bucket=bucket, tenant=tenant)
    if reference.size_bytes > MAX_ZIP_BYTES:
        detail = f"{reference.uri} has {reference.size_bytes} bytes, at most {MAX_ZIP_BYTES} are allowed"
        raise Unfit(Fault.OBJECT_TOO_LARGE, field, detail)
    content = await fetch(field, reference, store)
    try:
        return await asyncio.to_thread(frame_set.inspect, content, split)
    except BadSet as error:
        raise Unfit(error.fault, field, str(error)) from error
