"""What processes are told, and what is refused: a salt is measured in bytes, because that is what it is used in."""

import pytest
from pydantic import ValidationError

from roadloop_runtime.service.settings import BadSettings
from screen.rollout.settings import RolloutSettings
from screen.rollout.stages import Plan
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


def rollout(monkeypatch: pytest.MonkeyPatch, **said: str) -> RolloutSettings:
    needed = {
        "member": "r-0",
        "kafka_bootstrap": "k",
        "health_port": "1",
        "triton_grpc": "t",
        "s3_endpoint": "http://s",
    }
    needed |= {"s3_access_key": "a", "s3_secret_key": "b", "model_repository": "/models"}
    for name, value in (needed | said).items():
        monkeypatch.setenv(f"ROADLOOP_{name.upper()}", value)
    return RolloutSettings.read()


@pytest.mark.parametrize(
    ("said", "plan"),
    [
        pytest.param({}, Plan(0.2, (0.1, 0.5), 400, 600), id="by-default"),
        pytest.param({"rollout_shares": "[0.05]", "rollout_shadow": "0"}, Plan(0, (0.05,), 400, 600), id="one-share"),
        pytest.param({"rollout_patience_s": "0"}, Plan(0, (), 400, 600), id="at-once"),
    ],
)
def test_how_carefully_a_version_comes_to_serve(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str], plan: Plan
) -> None:
    assert rollout(monkeypatch, **said).plan == plan


@pytest.mark.parametrize("said", ["[1.0]", "[0]", "[-0.1]", "[0.5, 0.5]", "[0.5, 0.1]"])
def test_a_share_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    with pytest.raises(BadSettings, match="ROADLOOP_ROLLOUT_SHARES"):
        rollout(monkeypatch, rollout_shares=said)
