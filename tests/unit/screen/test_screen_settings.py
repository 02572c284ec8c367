"""A salt is measured in bytes, because that is what it is used in."""

import pytest
from pydantic import ValidationError

from screen.settings import Settings


@pytest.mark.parametrize("salt", ["x" * 15, "x" * 65, "ü" * 40])
def test_a_salt_of_another_length_is_refused(salt: str) -> None:
    with pytest.raises(ValidationError, match="a salt has 16 to 64 bytes"):
        Settings.model_validate({"audit_salt": salt})


@pytest.mark.parametrize("salt", ["x" * 16, "x" * 64, "ü" * 32])
def test_a_salt_that_fits_is_taken(salt: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"audit_salt": salt})
    assert "audit_salt" not in {error["loc"][0] for error in refused.value.errors()}, "only the rest is missing"
