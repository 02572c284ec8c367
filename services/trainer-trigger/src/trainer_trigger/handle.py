"""The story of a label: it is checked and stored with its offset here, and wakes the runner.

`runner.py` goes on from there: is it time (`trigger.py`), make a candidate (`training/`), measure it beside what serves
and let it pass the gate or not (`evaluation/`), release it (`training/release.py`).
"""

from enum import StrEnum

from roadloop_runtime.decode import Received, decoder
from roadloop_runtime.handler import Handler
from roadloop_runtime.outcome import DeadLetter, Emit, Outcome
from roadloop_schemas.fields import is_tenant
from roadloop_schemas.labels import LabelCompleted
from roadloop_schemas.topics import LABELS_COMPLETED
from trainer_trigger.tables.label_table import Completed

GROUP = "trainer-trigger"
LABELS = LABELS_COMPLETED
Label = Received[LabelCompleted]


class Reason(StrEnum):
    """Why a label can never be trained on."""

    NO_TENANT = "no_tenant"
    FOREIGN_BUCKET = "foreign_bucket"


def decide(memory: None, seen: Label, uploads_bucket: str) -> tuple[None, Outcome]:
    """Store every label whose picture lies in our own bucket."""
    tenant, label = seen.envelope.tenant, seen.body
    if not is_tenant(tenant):
        return memory, DeadLetter(
            Reason.NO_TENANT,
            detail=f"ce_tenant is {tenant!r}",
            field="ce_tenant",
            rule="a tenant has 1 to 63 of a-z, 0-9 and -",
            remedy="send the label with the tenant of its frame, then replay",
        )
    if label.object.bucket != uploads_bucket:
        return memory, DeadLetter(
            Reason.FOREIGN_BUCKET,
            detail=f"{label.object.uri} is not in the bucket {uploads_bucket}",
            field="object.uri",
            rule=f"pictures lie in s3://{uploads_bucket}/",
            remedy="send the label with the object of frames.ingested.v1, then replay",
        )
    return memory, Emit(changes=(Completed(tenant, label),))


def handler(uploads_bucket: str) -> Handler[Label, Label, None, str]:
    return Handler(decode=decoder(LabelCompleted), decide=decide, policy=lambda: uploads_bucket)
