"""What Triton is given: a version that stands alone, a whole configuration, instances where there is a place."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from roadloop_schemas.models import DetectorCard
from screen.rollout import model_repository
from screen.rollout.model_repository import Instances
from screen.rollout.settings import RolloutSettings
from screen.serving.card import read_card
from tests.builders import make_card, make_release

CARD = make_card(family="yolo", input_width=64, input_height=32, pad=0)
RELEASE = make_release(3, card=CARD)


def test_a_version_has_all_that_it_imports(tmp_path: Path) -> None:
    model_repository.publish(tmp_path, RELEASE, b"onnx")
    version = tmp_path / "detector.acme" / "3"
    serving = Path(model_repository.__file__).parents[1] / "serving"
    assert {path.name for path in version.iterdir()} == {"model.onnx", "detector.json"} | {
        path.name for path in serving.glob("*.py") if path.name != "__init__.py"
    }
    assert model_repository.holds(tmp_path, "detector.acme", 3)


def test_the_card_that_was_released_is_the_card_that_serves(tmp_path: Path) -> None:
    model_repository.publish(tmp_path, RELEASE, b"onnx")
    written = DetectorCard.model_validate_json((tmp_path / "detector.acme" / "3" / "detector.json").read_bytes())
    assert written == CARD
    assert read_card(written.model_dump()) == read_card(CARD.model_dump(exclude_none=True))


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        pytest.param(Instances(), {"count": 2, "kind": "KIND_AUTO"}, id="Triton decides: a GPU where it sees one"),
        pytest.param(Instances(1, "cpu"), {"count": 1, "kind": "KIND_CPU"}, id="one core"),
        pytest.param(Instances(4, "gpu"), {"count": 4, "kind": "KIND_GPU"}, id="four on each GPU, or the load fails"),
    ],
)
def test_instances(instances: Instances, expected: dict[str, Any]) -> None:
    config = model_repository.make_config("detector.acme", [2, 3], 7, instances)
    assert config["instance_group"] == [expected]
    assert (config["name"], config["version_policy"]) == ("detector.acme", {"specific": {"versions": [2, 3]}})
    assert config["parameters"]["epoch"] == {"string_value": "7"}


@pytest.mark.parametrize(("name", "value"), [("model_instances", "0"), ("model_kind", "cuda")])
def test_settings_that_no_server_takes(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        RolloutSettings.model_validate(
            {
                "member": "screen-0",
                "kafka_bootstrap": "k:9092",
                "health_port": 1,
                "s3_endpoint": "http://s3:1",
                "s3_access_key": "a",
                "s3_secret_key": "b",
                "triton_grpc": "t:1",
                "model_repository": "/models",
                name: value,
            }
        )
