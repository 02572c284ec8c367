"""Which labels are stored, and which never will be."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest

from roadloop_runtime.decode import Received, make_decoder
from roadloop_runtime.outcome import DeadLetter, Emit
from roadloop_runtime.records import Record, to_cloud_event
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.labels import LabelCompleted, LabelSource
from trainer_trigger.handle import decide
from trainer_trigger.reasons import LabelReason
from trainer_trigger.tables.label_table import Completed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def received(tenant: str = "acme", uri: str = "s3://uploads/acme/f1.jpg") -> Received[LabelCompleted]:
    label = LabelCompleted(
        task_id="t1",
        frame_id="f1",
        upload_id="u1",
        vehicle="v1",
        drive="d1",
        object=ObjectRef(uri=uri, sha256="0" * 64, size_bytes=1),
        slice="night",
        boxes=(),
        annotator="a1",
        source=LabelSource.AUDIT,
        captured_at=NOW,
        completed_at=NOW,
        lead_time_s=4,
    )
    written = to_cloud_event("labels.completed.v1", label, id="1", source="/test", tenant=tenant, key="f1", time=NOW)
    record = SimpleNamespace(partition=0, offset=0, timestamp=0, value=written.value, headers=written.headers)
    return make_decoder(LabelCompleted)(cast(Record, record))


def test_a_label_is_stored_with_its_tenant() -> None:
    seen = received()
    assert decide(None, seen, "uploads") == (None, Emit(changes=(Completed("acme", seen.body),)))


@pytest.mark.parametrize(
    ("seen", "reason", "field"),
    [
        pytest.param(received(tenant="Not A Tenant"), LabelReason.NO_TENANT, "ce_tenant", id="a-tenant-that-is-none"),
        pytest.param(received(uri="s3://models/x"), LabelReason.FOREIGN_BUCKET, "object.uri", id="a-picture-elsewhere"),
    ],
)
def test_what_can_never_be_trained_on_is_a_dead_letter(
    seen: Received[LabelCompleted], reason: LabelReason, field: str
) -> None:
    _, outcome = decide(None, seen, "uploads")
    assert isinstance(outcome, DeadLetter)
    assert (outcome.reason, outcome.field) == (reason, field)
