"""Training specs that earlier code stored are still read, and mean what they meant."""

import pytest

from roadloop_schemas.fields import ObjectRef
from tests.data.written_before.read import OF_NOVEMBER
from trainer_trigger.tables.spec import GatePolicy, Spec


@pytest.mark.parametrize(
    ("name", "patience", "hang_after_s", "has_old_limit"),
    [
        pytest.param("spec.json", 3, 900.0, False, id="as-it-is-stored-since-steps-alone-end-a-training"),
        pytest.param("spec_with_max_seconds.json", 0, 1_800.0, True, id="as-it-was-stored-while-seconds-did"),
    ],
)
def test_a_spec_means_what_it_meant(name: str, patience: int, hang_after_s: float, has_old_limit: bool) -> None:
    spec = Spec.model_validate_json((OF_NOVEMBER / name).read_bytes())
    assert spec.has_old_limit is has_old_limit
    assert spec.model_dump() == {
        "min_labels": 50,
        "base_set": {"uri": "s3://datasets/acme/base.zip", "sha256": "a" * 64, "size_bytes": 1_000},
        "validation_set": {"uri": "s3://datasets/acme/validation.zip", "sha256": "b" * 64, "size_bytes": 1_000},
        "steps": 400,
        "patience": patience,
        "hang_after_s": hang_after_s,
        "seed": 1,
        "label_weight": 3.0,
        "cooldown_s": 60.0,
        "gate": {"min_gain": 0.01, "max_condition_loss": 0.05, "min_confidence": 0.9},
    }
    assert isinstance(spec.base_set, ObjectRef)
    assert isinstance(spec.gate, GatePolicy)
