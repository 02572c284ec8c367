"""A training spec: older ones keep their meaning as far as it is still one."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from trainer_trigger.tables.spec import Spec

SET = {"uri": "s3://datasets/acme/set.zip", "sha256": "0" * 64, "size_bytes": 1}
FIELDS: dict[str, Any] = {"min_labels": 50, "base_set": SET, "validation_set": SET, "steps": 10}


@pytest.mark.parametrize(
    ("given", "hang_after_s", "has_old_limit"),
    [
        pytest.param({}, 600, False, id="neither"),
        pytest.param({"hang_after_s": 30}, 30, False, id="the guard itself"),
        pytest.param({"max_seconds": 60}, 600, True, id="a short limit of a whole training is no patience"),
        pytest.param({"max_seconds": 3_600}, 3_600, True, id="a long limit is"),
        pytest.param({"max_seconds": 604_800}, 86_400, True, id="a week is a day"),
        pytest.param({"max_seconds": 60, "hang_after_s": 45}, 45, True, id="both: the guard counts"),
    ],
)
def test_the_limit_of_an_older_spec_is_a_guard_against_a_hang(
    given: dict[str, float], hang_after_s: float, has_old_limit: bool
) -> None:
    spec = Spec.model_validate(FIELDS | given)
    assert (spec.hang_after_s, spec.has_old_limit) == (hang_after_s, has_old_limit)
    stored = Spec.model_validate_json(spec.model_dump_json())
    assert "max_seconds" not in json.loads(spec.model_dump_json())
    assert (stored.hang_after_s, stored.has_old_limit) == (hang_after_s, False)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"max_seconds": 0}, id="no time"),
        pytest.param({"max_seconds": -1}, id="negative"),
        pytest.param({"max_seconds": "soon"}, id="no number"),
        pytest.param({"max_seconds": float("nan")}, id="not a number"),
        pytest.param({"max_seconds": float("inf")}, id="for ever"),
        pytest.param({"hang_after_s": 0}, id="no guard"),
        pytest.param({"patience": -1}, id="negative patience"),
        pytest.param({"max_minutes": 1}, id="an unknown field"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Spec.model_validate(FIELDS | given)


@pytest.mark.parametrize("text", ["[]", '"spec"', "1", "null"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Spec.model_validate_json(text)
