"""Which labels are stored, and which never will be."""

import pytest

from roadloop_runtime.decode import Received
from roadloop_runtime.outcome import DeadLetter, Emit
from roadloop_schemas.labels import LabelCompleted
from tests.builders import make_label, make_object, receive
from trainer_trigger.handle import decide
from trainer_trigger.reasons import LabelReason
from trainer_trigger.tables.label_table import Completed

ELSEWHERE = make_label(object=make_object(uri="s3://models/x"))


def test_a_label_is_stored_with_its_tenant() -> None:
    label = make_label()
    assert decide(None, receive(label), "uploads") == (None, Emit(changes=(Completed("acme", label),)))


@pytest.mark.parametrize(
    ("seen", "reason", "field"),
    [
        pytest.param(
            receive(make_label(), tenant="Not A Tenant"), LabelReason.NO_TENANT, "ce_tenant", id="a-tenant-that-is-none"
        ),
        pytest.param(receive(ELSEWHERE), LabelReason.FOREIGN_BUCKET, "object.uri", id="a-picture-elsewhere"),
    ],
)
def test_what_can_never_be_trained_on_is_a_dead_letter(
    seen: Received[LabelCompleted], reason: LabelReason, field: str
) -> None:
    _, outcome = decide(None, seen, "uploads")
    assert isinstance(outcome, DeadLetter)
    assert (outcome.reason, outcome.field) == (reason, field)
